// The page's words in its languages, and the forms in which it writes money and times.

const table = JSON.parse(document.getElementById("words").textContent);

export let language = document.documentElement.lang;

/** The words of that name, its {…} filled in. An unknown name gives `otherwise`. */
export function say(name, values = {}, otherwise = name) {
  const words = table[name]?.[language] ?? otherwise;
  return words.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** Speak another language: all that stands on the page below `root` changes in place. */
export function speak(chosen, root = document) {
  language = chosen;
  document.documentElement.lang = chosen;
  document.title = say("title");
  translate(root);
}

export function translate(root) {
  for (const each of root.querySelectorAll("[data-say]")) each.textContent = say(each.dataset.say);
  for (const each of root.querySelectorAll("[data-label]")) {
    each.setAttribute("aria-label", say(each.dataset.label));
    if (each.title) each.title = say(each.dataset.label);
    if (each.placeholder) each.placeholder = say(each.dataset.label);
  }
}

/** Shillings with commas. */
export const shillings = (amount) => amount.toLocaleString("en-KE");

/** Cents as shillings; the cents themselves only where there are some. */
export const money = (cents) =>
  (cents / 100).toLocaleString("en-KE", { minimumFractionDigits: cents % 100 ? 2 : 0 });

const zone = { timeZone: "Africa/Nairobi", hourCycle: "h23" };
const hours = new Intl.DateTimeFormat("en-GB", { ...zone, hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat("en-GB", {
  ...zone, hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** "14:05", as clocks in Nairobi show it. */
export const clock = (at) => hours.format(new Date(at));
export const clockSeconds = (at) => seconds.format(new Date(at));
export const date = (at) =>
  new Intl.DateTimeFormat(language === "sw" ? "sw-KE" : "en-GB", {
    timeZone: "Africa/Nairobi", weekday: "long", day: "numeric", month: "short",
  }).format(new Date(at));

/** An element with attributes (`class`, `data-…`, …) and children; a string is a text. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
