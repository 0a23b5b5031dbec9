// The page: puts the phones, the market and the switches together with the world's news.

import { call } from "./calls.js";
import { Chat } from "./chat.js";
import { Market } from "./market.js";
import { Phone } from "./phone.js";
import { language, make, say, speak, translate } from "./words.js";

const POOR = 20; // shillings
const WELL_OFF = 10_000;
const RETRY_MS = 2_000;

const find = (selector) => document.querySelector(selector);
const { code, smsCode, phonesMax, bodies } = document.body.dataset;
const table = find(".phones");
const phones = new Map(); // by number
const chats = new Map(); // by number
const market = new Market(find(".market"));
let news = null;

// --- news

/** Listen for news of the phones on the table; again whenever they change. */
function listen() {
  news?.close();
  const numbers = [...phones.keys()].map((number) => number.slice(1)).join(",");
  news = new EventSource(`/simulator/events?phones=${numbers}`);
  const on = (name, take) =>
    news.addEventListener(name, (event) => take(JSON.parse(event.data)));
  on("phone", (state) => {
    phones.get(state.number)?.take(state);
    chats.get(state.number)?.take(state.telegram, state.prompt);
    drawPoor();
  });
  on("switches", drawSwitches);
  on("market", ({ market: seen }) => market.take(seen));
  news.onopen = () => (find(".lost").hidden = true);
  news.onerror = () => {
    find(".lost").hidden = false;
    // A refusal ends it for good; only a broken connection is taken up again by itself.
    if (news.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  };
}

// --- phones

function settle(root) {
  const chat = new Chat(root);
  const onLink = (payload) => chat.openWith(payload);
  const phone = new Phone(root, { code, smsCode, onBadge: drawJump, onLink });
  phones.set(phone.number, phone);
  chats.set(phone.number, chat);
  root.querySelector(".put-away").addEventListener("click", () => putAway(phone));
  return phone;
}

function putAway(phone) {
  if (phones.size === 1) return;
  phone.leave();
  phone.root.remove();
  phones.delete(phone.number);
  chats.delete(phone.number);
  arranged();
}

async function add(number) {
  const answer = await fetch(`/simulator/phone/${encodeURIComponent(number)}?lang=${language}`);
  if (!answer.ok) return say("number_wrong");
  const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
  const root = document.importNode(parsed.querySelector(".phone"), true);
  if (phones.has(root.dataset.number)) return say("number_here");
  root.dataset.body = rarestBody();
  table.append(root);
  const phone = settle(root);
  arranged();
  root.scrollIntoView({ block: "nearest", behavior: "smooth" });
  phone.focus();
  return "";
}

/** The colour that the fewest phones here have. */
function rarestBody() {
  const here = [...phones.values()].map(({ root }) => root.dataset.body);
  const count = (body) => here.filter((each) => each === body).length;
  return bodies.split(" ").reduce((rarest, body) => (count(body) < count(rarest) ? body : rarest));
}

/** The phones on the table have changed. */
function arranged() {
  table.dataset.count = phones.size;
  remember();
  drawJump();
  listen();
}

/** The address keeps what a reload shall bring back. */
function remember() {
  const numbers = [...phones.keys()].map((number) => number.slice(1)).join(",");
  history.replaceState(null, "", `?phones=${numbers}&lang=${language}`);
}

/** On a small screen: one link a phone, with its unread messages. */
function drawJump() {
  const links = [...phones.values()].map(({ root, number, unread }) => {
    const role = root.querySelector("h2 [data-say]").textContent;
    root.id = `phone-${number.slice(1)}`;
    const link = make("a", { href: `#${root.id}` }, role, make("small", {}, number.slice(-3)));
    if (unread > 0) link.append(make("b", {}, String(unread)));
    return link;
  });
  find(".jump").replaceChildren(...links, make("a", { href: "#market" }, say("market")));
}

// --- adding one

const form = find(".adding");
const opener = find(".add-phone");
const error = find(".adding-error");

function showForm(open) {
  form.hidden = !open;
  opener.setAttribute("aria-expanded", String(open));
  error.textContent = "";
  if (open) form.elements.number.focus();
  else form.reset();
}

opener.addEventListener("click", () => showForm(form.hidden));
form.querySelector(".quiet").addEventListener("click", () => {
  showForm(false);
  opener.focus();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Escape") showForm(false);
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const number = form.elements.number.value.trim();
  if (phones.size >= Number(phonesMax)) error.textContent = say("number_many");
  else error.textContent = number ? await add(number) : say("number_wrong");
  if (!error.textContent) showForm(false);
});

// --- switches

const switches = new Map(
  [...document.querySelectorAll("[data-switch]")].map((each) => [each.dataset.switch, each]),
);
const isOn = (each) => each.getAttribute("aria-checked") === "true";
const show = (name, on) => switches.get(name).setAttribute("aria-checked", String(on));

function drawSwitches(states) {
  for (const [name, on] of Object.entries(states)) show(name, on);
}

/** This one is no rule of the world: it is what the phones' accounts hold. */
function drawPoor() {
  const balances = [...phones.values()].map((each) => each.balance).filter((each) => each !== null);
  show("poor", balances.length > 0 && balances.every((each) => each <= POOR));
}

function fill(balance) {
  const full = [...phones.values()].filter((each) => each.balance !== null);
  return Promise.all(full.map(({ number }) => call("PUT", `subscribers/${number}`, { balance })));
}

for (const [name, each] of switches) {
  each.addEventListener("click", async () => {
    if (name === "poor") await fill(isOn(each) ? WELL_OFF : POOR);
    else await call("PUT", "rules", JSON.parse(isOn(each) ? each.dataset.off : each.dataset.on));
  });
}
find(".reset").addEventListener("click", async () => {
  await call("PUT", "rules", { reset: true });
  if (isOn(switches.get("poor"))) await fill(WELL_OFF);
});

// --- language

for (const each of document.querySelectorAll("[data-language]")) {
  each.addEventListener("click", () => {
    speak(each.dataset.language);
    for (const other of document.querySelectorAll("[data-language]")) {
      other.setAttribute("aria-pressed", String(other === each));
    }
    for (const phone of phones.values()) phone.redraw();
    for (const chat of chats.values()) chat.redraw();
    market.redraw();
    drawJump();
    remember();
  });
}

// --- begin

translate(document);
for (const root of table.querySelectorAll(".phone")) settle(root);
arranged();
setInterval(() => phones.forEach((phone) => phone.tick()), 500);
addEventListener("pagehide", () => phones.forEach((phone) => phone.leave()));
phones.values().next().value.focus();
