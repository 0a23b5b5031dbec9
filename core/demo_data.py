"""The demo market: real Kenyan places and goods, with the words people use for them."""

from typing import NamedTuple

from core.places import Kind


class Place(NamedTuple):
    """latitude, longitude: degrees, WGS 84, good to about a kilometre."""

    name: str
    kind: Kind
    county: str
    latitude: float
    longitude: float


class Seller(NamedTuple):
    msisdn: str
    name: str
    place: str
    language: str


class Unit(NamedTuple):
    """Of one and of many, in English and in Swahili."""

    en: tuple[str, str]
    sw: tuple[str, str]


class Product(NamedTuple):
    """step_milli: 1000 sells it whole. minimum: units.

    sold: the seller's position in SELLERS, the price of a unit in shillings, units on hand.
    """

    slug: str
    en: str
    sw: str
    unit: str
    step_milli: int
    minimum: int
    sold: tuple[tuple[int, int, int], ...]
    other_names: tuple[str, ...] = ()


class Category(NamedTuple):
    slug: str
    en: str
    sw: str
    products: tuple[Product, ...]


PIN = "2580"

SELLERS = (
    Seller("+254700000001", "Wanjiku Fresh", "Wakulima Market", "en"),
    Seller("+254700000002", "Otieno Supplies", "Kibuye Market", "sw"),
    Seller("+254700000003", "Mutua Grains", "Machakos Market", "en"),
    Seller("+254700000004", "Achieng Traders", "Gikomba Market", "sw"),
)

UNITS = {
    "bag": Unit(("bag", "bags"), ("gunia", "magunia")),
    "bottle": Unit(("bottle", "bottles"), ("chupa", "chupa")),
    "bunch": Unit(("bunch", "bunches"), ("fungu", "mafungu")),
    "crate": Unit(("crate", "crates"), ("kreti", "kreti")),
    "debe": Unit(("debe", "debes"), ("debe", "madebe")),
    "dozen": Unit(("dozen", "dozens"), ("dazeni", "dazeni")),
    "head": Unit(("head", "heads"), ("kichwa", "vichwa")),
    "kilo": Unit(("kilo", "kilos"), ("kilo", "kilo")),
    "litre": Unit(("litre", "litres"), ("lita", "lita")),
    "packet": Unit(("packet", "packets"), ("pakiti", "pakiti")),
    "stem": Unit(("stem", "stems"), ("mkungu", "mikungu")),  # of bananas, as cut from the plant
    "tray": Unit(("tray", "trays"), ("trei", "trei")),  # of 30 eggs
}

WHOLE, HALF = 1000, 500

# Prices are a wholesaler's to a vendor, Nairobi, 2026.
CATEGORIES = (
    Category("vegetables", "Vegetables", "Mboga", (
        Product("tomatoes", "Tomatoes", "Nyanya", "crate", WHOLE, 1,
                ((0, 2250, 40), (1, 2400, 25), (3, 2300, 30)), ("nyanya ya kupika",)),
        Product("red-onions", "Red onions", "Vitunguu", "kilo", HALF, 2,
                ((0, 85, 300), (2, 80, 500)), ("kitunguu", "vitunguu maji")),
        Product("sukuma-wiki", "Kale (sukuma wiki)", "Sukuma wiki", "bunch", WHOLE, 5,
                ((0, 15, 400), (1, 14, 300), (3, 16, 250)), ("skuma", "collard greens")),
        Product("cabbage", "Cabbage", "Kabeji", "head", WHOLE, 2,
                ((0, 45, 200), (3, 40, 150)), ("kabichi",)),
        Product("spinach", "Spinach", "Spinachi", "bunch", WHOLE, 5,
                ((0, 18, 200), (1, 20, 180)), ()),
        Product("amaranth", "Amaranth (terere)", "Mchicha", "bunch", WHOLE, 5,
                ((1, 15, 200), (3, 12, 220)), ("terere", "dodo")),
        Product("nightshade", "Nightshade (managu)", "Managu", "bunch", WHOLE, 5,
                ((1, 20, 150), (3, 20, 160)), ("mnavu", "osuga")),
        Product("carrots", "Carrots", "Karoti", "kilo", HALF, 1,
                ((0, 70, 250), (3, 75, 120)), ()),
        Product("green-peppers", "Green peppers", "Pilipili hoho", "kilo", HALF, 1,
                ((0, 90, 80), (1, 95, 60)), ("hoho", "capsicum")),
        Product("coriander", "Coriander", "Dhania", "bunch", WHOLE, 5,
                ((0, 10, 300), (3, 10, 200)), ("dania", "giligilani")),
        Product("green-peas", "Green peas", "Njegere", "kilo", HALF, 1,
                ((0, 150, 60), (2, 140, 90)), ("minji", "garden peas")),
        Product("garlic", "Garlic", "Vitunguu saumu", "kilo", HALF, 1,
                ((0, 260, 40), (2, 250, 60)), ("kitunguu saumu", "thum")),
        Product("ginger", "Ginger", "Tangawizi", "kilo", HALF, 1,
                ((0, 180, 50), (3, 170, 45)), ()),
    )),
    Category("roots", "Roots and plantains", "Viazi na mihogo", (
        Product("potatoes", "Potatoes", "Viazi", "bag", WHOLE, 1,
                ((0, 2600, 30), (2, 2500, 45), (3, 2700, 20)),
                ("waru", "irish potatoes", "viazi mviringo")),
        Product("sweet-potatoes", "Sweet potatoes", "Viazi vitamu", "debe", WHOLE, 1,
                ((1, 700, 40), (3, 680, 30)), ("ngwaci",)),
        Product("arrowroots", "Arrowroots", "Nduma", "kilo", HALF, 2,
                ((0, 110, 120), (1, 120, 90)), ("taro",)),
        Product("cassava", "Cassava", "Mihogo", "kilo", HALF, 2,
                ((1, 60, 200), (3, 65, 150)), ("muhogo",)),
        Product("cooking-bananas", "Cooking bananas", "Ndizi za kupika", "stem", WHOLE, 1,
                ((0, 650, 35), (1, 600, 40)), ("matoke", "green bananas", "plantain")),
    )),
    Category("fruit", "Fruit", "Matunda", (
        Product("ripe-bananas", "Ripe bananas", "Ndizi mbivu", "dozen", WHOLE, 1,
                ((0, 90, 120), (1, 85, 100)), ("ndizi tamu",)),
        Product("mangoes", "Mangoes", "Maembe", "kilo", HALF, 2,
                ((2, 80, 250), (3, 85, 180)), ("embe",)),
        Product("oranges", "Oranges", "Machungwa", "kilo", HALF, 2,
                ((2, 70, 300), (3, 75, 200)), ("chungwa",)),
        Product("avocados", "Avocados", "Maparachichi", "dozen", WHOLE, 1,
                ((0, 150, 90), (3, 160, 70)), ("avokado", "ovacado", "parachichi")),
        Product("pawpaws", "Pawpaws", "Mapapai", "kilo", HALF, 2,
                ((2, 60, 140), (3, 65, 110)), ("papaya", "papai")),
        Product("watermelons", "Watermelons", "Matikiti maji", "kilo", HALF, 3,
                ((2, 40, 400), (3, 45, 350)), ("tikiti maji", "tikitimaji")),
        Product("pineapples", "Pineapples", "Mananasi", "dozen", WHOLE, 1,
                ((0, 840, 25), (3, 800, 30)), ("nanasi",)),
        Product("passion-fruit", "Passion fruit", "Pasheni", "kilo", HALF, 1,
                ((0, 120, 80), (1, 125, 60)), ("karakara", "matunda ya pasheni")),
        Product("lemons", "Lemons", "Malimau", "kilo", HALF, 1,
                ((2, 90, 70), (3, 95, 60)), ("ndimu", "limau")),
    )),
    Category("cereals", "Cereals and flour", "Nafaka na unga", (
        Product("dry-maize", "Dry maize", "Mahindi makavu", "bag", WHOLE, 1,
                ((2, 3800, 60), (3, 3950, 25)), ("corn",)),
        Product("pishori-rice", "Pishori rice", "Mchele wa pishori", "kilo", HALF, 2,
                ((1, 185, 300), (2, 180, 400), (3, 190, 150)), ("mwea rice", "basmati")),
        Product("maize-flour", "Maize flour 2 kg", "Unga wa mahindi kilo 2", "packet", WHOLE, 1,
                ((1, 145, 240), (2, 140, 300)), ("sembe", "unga wa ugali")),
        Product("wheat-flour", "Wheat flour 2 kg", "Unga wa ngano kilo 2", "packet", WHOLE, 1,
                ((1, 165, 200), (3, 160, 180)), ("unga wa chapati",)),
        Product("porridge-flour", "Porridge flour 1 kg", "Unga wa uji kilo 1", "packet", WHOLE, 1,
                ((2, 130, 120), (3, 135, 100)), ()),
        Product("finger-millet", "Finger millet", "Wimbi", "kilo", HALF, 1,
                ((1, 140, 120), (2, 130, 200)), ("ulezi",)),
        Product("sorghum", "Sorghum", "Mtama", "kilo", HALF, 1,
                ((1, 75, 150), (2, 70, 260)), ()),
    )),
    Category("pulses", "Beans and pulses", "Maharagwe na kunde", (
        Product("beans", "Beans (rosecoco)", "Maharagwe", "kilo", HALF, 1,
                ((1, 150, 200), (2, 140, 500), (3, 145, 220)), ("maharage", "nyayo", "wairimu")),
        Product("green-grams", "Green grams", "Ndengu", "kilo", HALF, 1,
                ((2, 160, 300), (3, 165, 140)), ("pojo", "choroko")),
        Product("cowpeas", "Cowpeas", "Kunde", "kilo", HALF, 1,
                ((1, 130, 120), (2, 120, 180)), ()),
        Product("pigeon-peas", "Pigeon peas", "Mbaazi", "kilo", HALF, 1,
                ((2, 135, 200), (3, 140, 100)), ()),
        Product("black-beans", "Black beans (njahi)", "Njahi", "kilo", HALF, 1,
                ((0, 190, 80), (2, 180, 140)), ("dolichos",)),
        Product("lentils", "Lentils", "Dengu", "kilo", HALF, 1,
                ((2, 210, 90), (3, 220, 70)), ("kamande",)),
        Product("groundnuts", "Groundnuts", "Njugu karanga", "kilo", HALF, 1,
                ((1, 230, 110), (2, 220, 160)), ("peanuts", "njugu", "karanga")),
    )),
    Category("eggs-milk-fish", "Eggs, milk and fish", "Mayai, maziwa, samaki", (
        Product("eggs", "Eggs", "Mayai", "tray", WHOLE, 1,
                ((0, 390, 90), (1, 380, 120), (3, 400, 60)), ("yai",)),
        Product("fresh-milk", "Fresh milk", "Maziwa", "litre", HALF, 2,
                ((0, 62, 200), (1, 60, 150)), ()),
        Product("sour-milk", "Sour milk (mala)", "Maziwa lala", "litre", HALF, 1,
                ((0, 90, 80), (1, 95, 60)), ("maziwa mala", "mtindi")),
        Product("omena", "Omena (dagaa)", "Omena", "kilo", HALF, 1,
                ((1, 320, 140), (3, 340, 90)), ("dagaa", "silverfish")),
        Product("tilapia", "Tilapia", "Samaki tilapia", "kilo", HALF, 1,
                ((1, 480, 60), (3, 500, 40)), ("fish", "ngege")),
        Product("honey", "Honey", "Asali", "bottle", WHOLE, 1,
                ((2, 450, 50), (3, 470, 30)), ()),
    )),
)  # fmt: skip

PLACES = (
    Place("Wakulima Market", "market", "Nairobi", -1.2869, 36.8339),
    Place("Gikomba Market", "market", "Nairobi", -1.2857, 36.8397),
    Place("Muthurwa Market", "market", "Nairobi", -1.2893, 36.8368),
    Place("Toi Market", "market", "Nairobi", -1.3082, 36.7794),
    Place("Kangemi Market", "market", "Nairobi", -1.2647, 36.7479),
    Place("Kawangware", "estate", "Nairobi", -1.2858, 36.7454),
    Place("Kibera", "estate", "Nairobi", -1.3133, 36.7876),
    Place("Mathare", "estate", "Nairobi", -1.2606, 36.8584),
    Place("Eastleigh", "estate", "Nairobi", -1.2731, 36.8514),
    Place("Umoja", "estate", "Nairobi", -1.2833, 36.8981),
    Place("Kayole", "estate", "Nairobi", -1.2772, 36.9129),
    Place("Githurai Market", "market", "Kiambu", -1.2010, 36.9170),
    Place("Nairobi", "town", "Nairobi", -1.2864, 36.8172),
    Place("Mombasa", "town", "Mombasa", -4.0435, 39.6682),
    Place("Kisumu", "town", "Kisumu", -0.0917, 34.7680),
    Place("Limuru", "town", "Kiambu", -1.1069, 36.6431),
    Place("Wangige Market", "market", "Kiambu", -1.2189, 36.7156),
    Place("Kiambu", "town", "Kiambu", -1.1714, 36.8356),
    Place("Thika", "town", "Kiambu", -1.0388, 37.0834),
    Place("Ruiru", "town", "Kiambu", -1.1466, 36.9609),
    Place("Kitengela", "town", "Kajiado", -1.4787, 36.9596),
    Place("Ngong", "town", "Kajiado", -1.3527, 36.6699),
    Place("Loitokitok", "town", "Kajiado", -2.9219, 37.5050),
    Place("Machakos Market", "market", "Machakos", -1.5177, 37.2634),
    Place("Mlolongo", "town", "Machakos", -1.3964, 36.9414),
    Place("Wote", "town", "Makueni", -1.7808, 37.6288),
    Place("Emali", "town", "Makueni", -2.0795, 37.4725),
    Place("Kitui", "town", "Kitui", -1.3670, 38.0106),
    Place("Mwingi", "town", "Kitui", -0.9340, 38.0600),
    Place("Embu", "town", "Embu", -0.5310, 37.4575),
    Place("Wang'uru", "town", "Kirinyaga", -0.7266, 37.3560),
    Place("Kagio Market", "market", "Kirinyaga", -0.6167, 37.2500),
    Place("Kerugoya", "town", "Kirinyaga", -0.4986, 37.2803),
    Place("Karatina Market", "market", "Nyeri", -0.4833, 37.1274),
    Place("Nyeri", "town", "Nyeri", -0.4201, 36.9476),
    Place("Murang'a", "town", "Murang'a", -0.7210, 37.1526),
    Place("Ol Kalou", "town", "Nyandarua", -0.2643, 36.3788),
    Place("Nanyuki", "town", "Laikipia", 0.0167, 37.0667),
    Place("Meru", "town", "Meru", 0.0470, 37.6496),
    Place("Maua", "town", "Meru", 0.2320, 37.9409),
    Place("Chuka", "town", "Tharaka-Nithi", -0.3323, 37.6459),
    Place("Isiolo", "town", "Isiolo", 0.3546, 37.5822),
    Place("Marsabit", "town", "Marsabit", 2.3284, 37.9899),
    Place("Nakuru", "town", "Nakuru", -0.3031, 36.0800),
    Place("Naivasha", "town", "Nakuru", -0.7172, 36.4310),
    Place("Molo", "town", "Nakuru", -0.2488, 35.7324),
    Place("Narok", "town", "Narok", -1.0783, 35.8601),
    Place("Bomet", "town", "Bomet", -0.7813, 35.3416),
    Place("Kericho", "town", "Kericho", -0.3689, 35.2863),
    Place("Eldoret", "town", "Uasin Gishu", 0.5143, 35.2698),
    Place("Iten", "town", "Elgeyo-Marakwet", 0.6703, 35.5081),
    Place("Kapsabet", "town", "Nandi", 0.2039, 35.1050),
    Place("Kitale", "town", "Trans Nzoia", 1.0157, 35.0062),
    Place("Kapenguria", "town", "West Pokot", 1.2389, 35.1119),
    Place("Lodwar", "town", "Turkana", 3.1191, 35.5973),
    Place("Kakamega", "town", "Kakamega", 0.2827, 34.7519),
    Place("Bungoma", "town", "Bungoma", 0.5635, 34.5606),
    Place("Chwele Market", "market", "Bungoma", 0.7333, 34.5833),
    Place("Busia", "town", "Busia", 0.4608, 34.1115),
    Place("Luanda Market", "market", "Vihiga", 0.0356, 34.5817),
    Place("Siaya", "town", "Siaya", 0.0607, 34.2881),
    Place("Kibuye Market", "market", "Kisumu", -0.0924, 34.7640),
    Place("Ahero", "town", "Kisumu", -0.1740, 34.9190),
    Place("Homa Bay", "town", "Homa Bay", -0.5273, 34.4571),
    Place("Migori", "town", "Migori", -1.0634, 34.4731),
    Place("Kisii", "town", "Kisii", -0.6817, 34.7667),
    Place("Nyamira", "town", "Nyamira", -0.5633, 34.9358),
    Place("Kongowea Market", "market", "Mombasa", -4.0397, 39.6853),
    Place("Likoni", "estate", "Mombasa", -4.0833, 39.6639),
    Place("Malindi", "town", "Kilifi", -3.2192, 40.1169),
    Place("Kilifi", "town", "Kilifi", -3.6305, 39.8499),
    Place("Voi", "town", "Taita-Taveta", -3.3961, 38.5561),
    Place("Taveta", "town", "Taita-Taveta", -3.3988, 37.6789),
    Place("Kwale", "town", "Kwale", -4.1737, 39.4521),
    Place("Lamu", "town", "Lamu", -2.2696, 40.9006),
    Place("Hola", "town", "Tana River", -1.4825, 40.0334),
    Place("Garissa", "town", "Garissa", -0.4532, 39.6461),
    Place("Wajir", "town", "Wajir", 1.7471, 40.0573),
    Place("Mandera", "town", "Mandera", 3.9366, 41.8670),
)
