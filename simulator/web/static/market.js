// The panel beside the phones: orders with their timelines, what goes out, whose every shilling is.

import { clockSeconds, make, money, say } from "./words.js";

// Whose money it is, by account of the ledger, in the order shown. What is none of these is "other".
const OWNERS = {
  "L.escrow": "escrow",
  "L.seller": "seller",
  "L.buyer": "buyer",
  "R.fee": "fee",
  "L.out": "out",
  "L.suspense": "suspense",
  "Q.capital": "capital",
};
// Listed, and not in the bar: they would leave no room for anybody's money.
const OURS = new Set(["capital", "other"]);
const AT_MPESA = ["A.c2b", "A.b2c", "A.transit", "A.bank"];
// The way of an order that goes well.
const WAY = ["placed", "paid", "accepted", "dispatched", "completed"];
const PLACE_ON_WAY = { delivered: 3, disputed: 3, split: 4 };
const ENDED_BADLY = new Set(["expired", "cancelled", "refunded"]);

export class Market {
  constructor(root) {
    this.#root = root;
  }

  #root;
  #cards = new Map(); // by order number
  #seen = null;
  #seenBefore = false; // whether orders were drawn yet

  /** What Sokoni says; null while it does not answer: what is shown stays, greyed. */
  take(market) {
    this.#root.classList.toggle("is-down", market === null);
    this.#find(".down").hidden = market !== null;
    if (market === null) return;
    this.#seen = market;
    this.redraw();
  }

  redraw() {
    if (this.#seen === null) return;
    const { orders, payouts, ledger } = this.#seen;
    this.#find(".orders .none").hidden = orders.length > 0;
    this.#drawOrders(orders);
    this.#drawPayouts(payouts);
    this.#drawGuide(orders[0]);
    this.#drawBooks(ledger);
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #drawOrders(orders) {
    const shown = new Set(orders.map((each) => each.number));
    for (const [number, card] of this.#cards) {
      if (!shown.has(number)) {
        card.remove();
        this.#cards.delete(number);
      }
    }
    const list = this.#find(".cards");
    const atFirst = !this.#seenBefore;
    this.#seenBefore = true;
    if (orders.some((each) => !this.#cards.has(each.number))) {
      for (const card of this.#cards.values()) card.open = false;
    }
    [...orders].reverse().forEach((order, place) => {
      let card = this.#cards.get(order.number);
      if (!card) {
        card = make("details", { class: "order", "data-order": order.number });
        card.append(make("summary"), make("div", { class: "inside" }));
        // A new order stands open, and those before it close; of those found here, the newest.
        card.open = !atFirst || place === orders.length - 1;
        this.#cards.set(order.number, card);
        list.prepend(card);
      }
      card.dataset.state = order.state;
      card.querySelector("summary").replaceChildren(...summary(order));
      drawInside(card.querySelector(".inside"), order);
    });
  }

  /** The newest first; a line that stands already is left alone until it says something else. */
  #drawPayouts(payouts) {
    this.#find(".payouts").hidden = payouts.length === 0;
    const list = this.#find(".payouts ul");
    const lines = new Map([...list.children].map((line) => [line.dataset.payout, line]));
    payouts.forEach(({ id, state, waits_for: waits, cents, to }, place) => {
      const line = lines.get(id) ?? make("li", { "data-payout": id }, make("span"), make("b"));
      lines.delete(id);
      if (list.children[place] !== line) list.insertBefore(line, list.children[place] ?? null);
      line.dataset.state = state;
      line.querySelector("span").textContent = say("payout_to", { amount: money(cents), name: to });
      line.querySelector("b").textContent = say(waits ? `payout_waits_${waits}` : `payout_${state}`);
    });
    for (const line of lines.values()) line.remove();
  }

  /** Tick off the steps that the newest order has taken. */
  #drawGuide(newest) {
    const taken = newest ? placeOnWay(newest.state) : -1;
    const steps = this.#root.querySelectorAll(".guide li");
    [0, 1, 3, 4].forEach((needed, step) => steps[step].classList.toggle("done", taken >= needed));
    steps[4].classList.toggle("done", newest?.state === "disputed");
  }

  #drawBooks({ accounts, debits, credits, balanced, cached_equal_fold: equal }) {
    const any = debits > 0;
    this.#find(".books .none").hidden = any;
    this.#find(".books-full").hidden = !any;
    const whole = AT_MPESA.reduce((sum, kind) => sum + (accounts[kind] ?? 0), 0);
    this.#find(".at-mpesa").textContent = say("books_at_mpesa", { amount: money(whole) });
    const parts = Object.entries(OWNERS).map(([kind, owner]) => [owner, accounts[kind] ?? 0]);
    const rest = whole - parts.reduce((sum, [, cents]) => sum + cents, 0);
    parts.push(["other", rest]);
    const usual = new Set(["escrow", "seller", "buyer", "fee"]);
    const shares = this.#find(".shares");
    const owners = [];
    for (const [owner, cents] of parts) {
      if (cents !== 0 && OURS.has(owner)) owners.push(line(owner, cents));
      if (OURS.has(owner)) continue;
      let share = shares.querySelector(`[data-owner="${owner}"]`);
      if (!share) {
        share = make("i", { "data-owner": owner });
        shares.append(share);
      }
      share.style.flexGrow = Math.max(0, cents);
      share.classList.toggle("some", cents > 0);
      if (cents === 0 && !usual.has(owner)) continue;
      owners.push(line(owner, cents));
    }
    this.#find(".owners").replaceChildren(...owners);
    const verdict = this.#find(".verdict");
    const good = balanced && equal;
    verdict.classList.toggle("bad", !good);
    verdict.textContent = say(good ? "balanced" : "unbalanced", {
      debits: money(debits), credits: money(credits),
    });
  }
}

function line(owner, cents) {
  return make("div", { "data-owner": owner, class: cents === 0 ? "nothing" : "" },
    make("dt", {}, say(`owner_${owner}`)), make("dd", {}, `KSh ${money(cents)}`));
}

/** How far an order has come; -1 where it will come no further. */
function placeOnWay(state) {
  return ENDED_BADLY.has(state) ? -1 : (PLACE_ON_WAY[state] ?? WAY.indexOf(state));
}

function summary(order) {
  const reached = placeOnWay(order.state);
  return [
    make("span", { class: "title" }, say("order", { number: order.number })),
    make("span", { class: "total" }, `KSh ${money(order.total_cents)}`),
    make("span", { class: "people" }, say("from_to", { seller: order.seller, buyer: order.buyer })),
    make("span", { class: "state" }, say(`state_${order.state}`, {}, humane(order.state))),
    make("span", { class: "way", "aria-hidden": "true" },
      ...WAY.map((_, step) => make("i", step <= reached ? { class: "done" } : {}))),
  ];
}

function drawInside(root, order) {
  if (!root.firstChild) {
    root.append(make("dl", { class: "facts" }), make("ol", { class: "timeline" }));
  }
  const facts = [[say("escrow"), escrow(order)]];
  if (order.charge) facts.push([say("charge"), say(`charge_${order.charge}`, {}, humane(order.charge))]);
  root.querySelector(".facts").replaceChildren(
    ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
  );
  // Lines that stand already are left alone, so that only a new one lights up.
  const timeline = root.querySelector(".timeline");
  timeline.setAttribute("aria-label", say("timeline"));
  order.events.forEach(({ kind, reason, at }, place) => {
    const line = timeline.children[place] ?? timeline.appendChild(make("li", {}, make("time"), make("span")));
    line.querySelector("time").textContent = clockSeconds(at);
    line.querySelector("span").textContent = say(`event_${reason ?? kind}`, {}, humane(reason ?? kind));
  });
  while (timeline.children.length > order.events.length) timeline.lastChild.remove();
}

function escrow({ escrow: each }) {
  const said = [];
  if (each.state === "held" || each.state === "frozen" || each.state === "none") {
    said.push(say(`escrow_${each.state}`, { held: money(each.held_cents) }));
  }
  if (each.released_cents) said.push(say("to_seller", { amount: money(each.released_cents) }));
  if (each.refunded_cents) said.push(say("to_buyer", { amount: money(each.refunded_cents) }));
  if (each.fee_cents) said.push(say("fee", { amount: money(each.fee_cents) }));
  return said.join(", ") || say("escrow_settled");
}

/** "accept_reminder" as "Accept reminder": words that the page has no own ones for. */
function humane(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
