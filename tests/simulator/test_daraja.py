"""M-Pesa's door: tokens, checks and refusals in Daraja's own words."""

import re

import pytest

from tests.simulator.pretend import PAYER, START

PUSH = "/mpesa/stkpush/v1/processrequest"


def refused(answer) -> tuple[int, str, str]:
    assert answer.json["requestId"], answer.text
    return answer.status_code, answer.json["errorCode"], answer.json["errorMessage"]


def test_a_token_lasts_3599_seconds_said_as_a_string(web):
    answer = web.get(
        "/oauth/v1/generate?grant_type=client_credentials",
        auth=("sandbox-consumer-key", "sandbox-consumer-secret"),
    )
    assert answer.json.keys() == {"access_token", "expires_in"}
    assert answer.json["expires_in"] == "3599"


def test_another_kind_of_authentication_is_refused(web):
    path = "/oauth/v1/generate?grant_type=client_credentials"
    assert refused(web.get(path))[:2] == (400, "400.008.01")
    bearer = web.get(path, headers={"Authorization": "Bearer abc"})
    assert refused(bearer)[:2] == (400, "400.008.01")


@pytest.mark.parametrize("query", ["", "?grant_type=password"])
def test_another_grant_type_is_refused(web, query):
    answer = web.get(
        f"/oauth/v1/generate{query}", auth=("sandbox-consumer-key", "sandbox-consumer-secret")
    )
    assert refused(answer)[:2] == (400, "400.008.02")


def test_keys_of_another_environment_get_an_empty_400(web):
    answer = web.get("/oauth/v1/generate?grant_type=client_credentials", auth=("a", "b"))
    assert (answer.status_code, answer.data) == (400, b"")


def test_a_newer_token_ends_the_older_one(shop):
    old = shop.token
    new = shop.new_token()
    assert refused(shop.push()) == (404, "404.001.03", "Invalid Access Token")
    shop.token = new
    assert shop.push().status_code == 200
    assert old != new


def test_a_token_expires_by_the_worlds_clock(world, shop):
    world.advance(3599)
    assert shop.push(Amount=0).json["errorCode"] == "400.002.02"
    world.advance(1)
    assert refused(shop.push())[:2] == (404, "404.001.03")


def test_each_family_refuses_a_token_in_its_own_words(shop):
    shop.token = "stale"
    assert refused(shop.push())[:2] == (404, "404.001.03")
    assert refused(shop.query("x"))[:2] == (404, "404.001.03")
    assert refused(shop.register())[:2] == (400, "400.003.01")


def test_a_call_without_a_token_has_no_authentication_header(web):
    assert refused(web.post(PUSH, json={})) == (
        404, "404.001.04", "Invalid Authentication Header",
    )  # fmt: skip


def test_wrong_paths_and_methods_are_refused_in_the_gateways_form(web):
    assert refused(web.post("/mpesa/nothing"))[:2] == (404, "404.001.01")
    assert refused(web.get(PUSH))[:2] == (405, "405.001")
    assert refused(web.post("/mpesa/c2b/v3/registerurl"))[:2] == (404, "404.001.01")


def test_without_the_content_type_every_field_reads_as_missing(shop, web):
    answer = web.post(PUSH, data=b"{}", headers={"Authorization": f"Bearer {shop.token}"})
    assert refused(answer) == (
        400, "400.002.02", "Bad Request - Invalid BusinessShortCode",
    )  # fmt: skip


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b"\xff", b'"text"'])
def test_a_malformed_body_is_an_invalid_payload(shop, web, body):
    answer = web.post(
        PUSH,
        data=body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {shop.token}"},
    )
    assert refused(answer) == (400, "400.002.05", "Invalid Request Payload")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("BusinessShortCode", [..., None, "", "1234", "12345678", "17437a", True]),
        ("Password", [..., None, ""]),
        ("Timestamp", [..., "", "2026081714041", "20261317140419", "20260230000000", "x" * 14]),
        ("TransactionType", [..., "", "CustomerPayBill", "customerpaybillonline"]),
        ("Amount", [..., None, "", 0, -1, 250_001, "10.5", 10.5, 1e3, "1,000", True, [5]]),
        ("PartyA", [..., "", "0712345678", "+254712345678", "254612345678", "25471234567"]),
        ("PartyB", [..., "", "12", "abcdef"]),
        ("PhoneNumber", [..., "", "0712345678", "+254712345678", "255712345678"]),
        ("AccountReference", [..., None, "", "X" * 13]),
    ],
)
def test_a_field_that_does_not_fit_is_named(shop, field, values):
    for value in values:
        expected = (400, "400.002.02", f"Bad Request - Invalid {field}")
        assert refused(shop.push(**{field: value})) == expected, value


@pytest.mark.parametrize("value", [..., None, "", "X" * 14])
def test_a_bad_transactiondesc_is_called_remarks(shop, value):
    answer = shop.push(TransactionDesc=value)
    assert refused(answer) == (400, "400.002.02", "Bad Request - Invalid Remarks")


@pytest.mark.parametrize(
    "url",
    [
        ..., "", "shop", "http://shop.example/pay", "ftp://shop.example/pay", "https://",
        "https://shop.example/mpesa/1", "https://MPESA.example/pay", "https://shop.example/M-Pesa",
        "https://shop.example/Safaricom", "https://shop.example/a.exe", "https://shop.example/exec",
        "https://shop.example/cmd", "https://shop.example/sql", "https://shop.example/Query",
        "https://[::1", "http://127.0.0.1:8000/mpesa",
    ],
)  # fmt: skip
def test_a_callback_url_that_mpesa_would_refuse_is_refused(shop, url):
    answer = shop.push(CallBackURL=url)
    assert refused(answer) == (400, "400.002.02", "Bad Request - Invalid CallBackURL")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/payments/stk/0a", "http://localhost/a", "http://web:8000/a",
     "https://shop.example/pay?next=query"],
)  # fmt: skip
def test_a_callback_url_on_this_machine_may_be_plain_http(shop, url):
    assert shop.push(CallBackURL=url).status_code == 200


def test_an_unknown_shortcode_is_no_merchant(shop):
    answer = shop.push(BusinessShortCode="600000")
    assert refused(answer) == (500, "500.001.1001", "Merchant does not exist")


@pytest.mark.parametrize("password", ["nonsense", "MTIz", "=", "é"])
def test_a_wrong_password_is_wrong_credentials(shop, password):
    answer = shop.push(Password=password)
    assert refused(answer) == (500, "500.001.1001", "Wrong credentials")


def test_a_password_of_another_timestamp_is_wrong_credentials(shop):
    answer = shop.push(Timestamp="20260817140420")
    assert refused(answer) == (500, "500.001.1001", "Wrong credentials")


def test_an_accepted_push_is_acknowledged_as_mpesa_does(shop):
    ack = shop.accepted()
    assert ack.pop("MerchantRequestID").count("-") == 3
    # 17/08/2026 14:04:19.250 in Nairobi, then the payer's last nine digits
    assert ack.pop("CheckoutRequestID") == "ws_CO_17082026140419250" + PAYER[-9:]
    assert ack == {
        "ResponseCode": "0",
        "ResponseDescription": "Success. Request accepted for processing",
        "CustomerMessage": "Success. Request accepted for processing",
    }


def test_two_pushes_of_one_instant_have_different_ids(shop, api):
    api.rules(next=[{"auto": "1032", "callback": "before_ack"}])
    first, second = shop.accepted(), shop.accepted(Amount=5)
    assert first["CheckoutRequestID"] != second["CheckoutRequestID"]
    assert re.fullmatch(r"ws_CO_\d{17}712345678", second["CheckoutRequestID"])


def test_every_value_may_come_as_a_string_or_a_number(shop):
    assert shop.push(Amount="2250", PhoneNumber=254712345678, PartyB=174379).status_code == 200


def test_a_phone_with_an_open_prompt_is_locked(world, shop):
    shop.accepted()
    status, code, message = refused(shop.push(Amount=10))
    assert (status, code) == (500, "500.001.1001")
    assert message.startswith("Unable to lock subscriber, a transaction is already in process")
    world.advance(61)
    assert shop.push(Amount=10).status_code == 200


def test_a_query_says_pending_in_the_form_of_the_rules(world, shop, api):
    checkout_id = shop.accepted()["CheckoutRequestID"]
    answer = shop.query(checkout_id)
    assert refused(answer) == (500, "500.001.1001", "The transaction is being processed")
    api.rules(pending_form="4999")
    said = shop.query(checkout_id).json
    assert (said["ResponseCode"], said["ResultCode"]) == ("0", "4999")


def test_a_query_gives_the_final_result_as_a_string(world, shop, api):
    ack = shop.accepted()
    world.advance(1)
    api.answer(cancel=True)
    answer = shop.query(ack["CheckoutRequestID"])
    assert answer.status_code == 200
    assert answer.json == {
        "ResponseCode": "0",
        "ResponseDescription": "The service request has been accepted successfully",
        "MerchantRequestID": ack["MerchantRequestID"],
        "CheckoutRequestID": ack["CheckoutRequestID"],
        "ResultCode": "1032",
        "ResultDesc": "Request cancelled by user",
    }


def test_a_query_about_nothing_is_refused(shop):
    answer = shop.query("ws_CO_unknown")
    assert refused(answer) == (400, "400.002.02", "Bad Request - Invalid CheckoutRequestID")
    assert refused(shop.query("x", Password="x"))[2] == "Wrong credentials"
    assert refused(shop.query("x", Timestamp="x"))[2] == "Bad Request - Invalid Timestamp"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ShortCode", ""), ("ShortCode", "600000"), ("ResponseType", "completed"),
        ("ResponseType", ""), ("ConfirmationURL", ""), ("ConfirmationURL", "http://shop.example/"),
        ("ValidationURL", "https://shop.example/mpesa"), ("ValidationURL", None),
    ],
)  # fmt: skip
def test_a_registration_that_does_not_fit_is_refused(shop, field, value):
    answer = shop.register(**{field: value})
    assert refused(answer) == (400, "400.003.02", f"Bad Request - Invalid {field}")


def test_urls_may_be_registered_again_unless_the_rules_act_like_production(shop, api):
    for _ in range(2):
        said = shop.register().json
        assert said.pop("OriginatorCoversationID")
        assert said == {"ResponseCode": "0", "ResponseDescription": "Success"}
    api.rules(register_once=True)
    assert refused(shop.register()) == (500, "500.003.1001", "Urls are already registered")


def test_pulled_transactions_are_the_receipts_of_two_days(world, shop, api):
    register = {
        "ShortCode": "174379", "RequestType": "Pull", "NominatedNumber": "254712345678",
        "CallBackURL": "https://shop.example/pull",
    }  # fmt: skip
    ask = {
        "ShortCode": "174379", "StartDate": "2026-08-01 00:00:00",
        "EndDate": "2026-08-30 00:00:00", "OffSetValue": "0",
    }  # fmt: skip
    query = "/pulltransactions/v1/query"
    assert refused(shop.call(query, ask, "GET"))[:2] == (400, "400.003.02")
    statuses = [
        shop.call("/pulltransactions/v1/register", register).json["ResponseStatus"] for _ in "12"
    ]
    assert statuses == ["1000", "1001"]
    none = shop.call(query, ask, "GET").json
    assert (none["ResponseCode"], none["Response"]) == ("1001", [[]])
    pay = {"from": PAYER, "account": "OLD", "amount": 10}
    api.ok("POST", "payments", pay)
    world.advance(49 * 3600)
    shop.token = shop.new_token()
    for amount in (20, 30):
        receipt = api.ok("POST", "payments", pay | {"account": "ORD1", "amount": amount})["receipt"]
    found = shop.call(query, ask, "GET").json
    assert found["ResponseCode"] == "1000"
    (rows,) = found["Response"]
    assert [row["amount"] for row in rows] == ["20.00", "30.00"]
    assert rows[1] == {
        "transactionId": receipt,
        "trxDate": "2026-08-19T12:04:19Z",
        "msisdn": 712345678,
        "sender": "",
        "transactiontype": "c2b-pay-bill-debit",
        "billreference": "ORD1",
        "amount": "30.00",
        "organizationname": "SOKONI",
    }
    (rest,) = shop.call(query, ask | {"OffSetValue": "1"}, "GET").json["Response"]
    assert rest == rows[1:]
    assert world.clock.now() > START
