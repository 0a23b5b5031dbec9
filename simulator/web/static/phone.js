// One phone: what its screen shows, what its keys do.
//
// The screen is in one mode at a time:
//   idle      the code to dial stands ready
//   running   something was sent, the answer is awaited
//   session   a USSD screen that waits for a reply
//   ended     the last USSD screen
//   prompt    M-Pesa asks for a PIN
//   notice    a few words, then idle
//   inbox     the list of messages
//   message   one of them
// In the last two a message to our short code can be written.

import { call, callLast } from "./calls.js";
import { payloadOf } from "./chat.js";
import { clock, date, make, say, shillings } from "./words.js";

// A touch on the keypad must not bring up the screen keyboard.
const TOUCH = matchMedia("(pointer: coarse)");
const PIN_DIGITS = 4;
const USSD_LETTERS_MAX = 80;
const SMS_LETTERS_MAX = 459; // three parts
const MPESA = "MPESA"; // it reads nothing

const MODES = {
  idle: { entry: "dial", left: "soft_messages", right: "soft_call" },
  running: {},
  session: { entry: "reply", left: "soft_send", right: "soft_cancel" },
  ended: { left: "soft_ok" },
  prompt: { entry: "pin", left: "soft_send", right: "soft_cancel" },
  notice: { left: "soft_ok" },
  inbox: { entry: "soft_write", left: "soft_open", right: "soft_back" },
  message: { entry: "reply", left: "soft_next", right: "soft_back" },
};

export class Phone {
  /** root: the <article>; code, smsCode: Sokoni's; onBadge: called when the number of unread
   *  messages changes; onLink: when a link into the chat is followed, with what it says there. */
  constructor(root, { code, smsCode, onBadge, onLink }) {
    this.root = root;
    this.number = root.dataset.number;
    this.unread = 0;
    this.balance = null;
    this.#code = code;
    this.#smsCode = smsCode;
    this.#onBadge = onBadge;
    this.#onLink = onLink;
    const find = (selector) => root.querySelector(selector);
    this.#lcd = find(".lcd");
    this.#view = find(".view");
    this.#entry = find(".entry");
    this.#input = find(".entry input");
    this.#news = find(".news");
    this.#listen();
    this.#go("idle");
  }

  #code; #smsCode; #onBadge; #onLink; #lcd; #view; #entry; #input; #news;
  #mode = "idle";
  #text = ""; // of the USSD screen or the notice
  #note = ""; // in brackets below it
  #session = null;
  #newest = null; // the world's word on the session opened last
  #prompt = null;
  #messages = [];
  #read = null; // ids of the messages read; null before the first news
  #chosen = 0; // place in the inbox, from the newest
  #fresh = false; // the first letter typed takes the ready code's place

  /** What the world says of this phone now. */
  take(state) {
    this.balance = state.balance;
    const purse = this.root.querySelector(".balance");
    const money = state.balance === null ? say("no_mpesa") : `KSh ${shillings(state.balance)}`;
    if (purse.textContent !== money) purse.textContent = money;
    this.root.querySelector(".network").textContent = state.network ?? "";
    this.#newest = state.session;
    this.#takeSession(this.#newest);
    this.#takeMessages(state.messages);
    this.#takePrompt(state.prompt);
  }

  tick() {
    this.root.querySelector(".clock").textContent = clock(Date.now());
    const big = this.#view.querySelector(".time");
    if (big) big.textContent = clock(Date.now());
    const left = this.#view.querySelector(".left i");
    if (left && this.#prompt) {
      const seconds = (Date.parse(this.#prompt.expires_at) - Date.now()) / 1000;
      left.style.width = `${Math.max(0, Math.min(100, (seconds / 60) * 100))}%`;
    }
  }

  /** Draw again, in another language. */
  redraw() {
    this.#draw();
  }

  focus() {
    if (!TOUCH.matches) this.#focus();
  }

  /** The page goes away, or the phone is put away: no session is left open behind it. */
  leave() {
    if (this.#session) callLast("hangup", { session: this.#session });
    this.#session = null;
  }

  // --- what the world does to it

  #takeSession(newest) {
    if (this.#mode === "session" && newest?.id === this.#session && !newest.open) {
      this.#session = null;
      this.#go("ended", { text: this.#text, note: say("session_ended") });
    }
  }

  #takeMessages(messages) {
    if (this.#read === null) this.#read = new Set(messages.map((each) => each.id));
    const known = new Set(this.#messages.map((each) => each.id));
    const arrived = messages.filter((each) => !known.has(each.id) && !this.#read.has(each.id));
    this.#messages = [...messages].reverse();
    if (this.#mode === "inbox" || this.#mode === "message") this.#chosen += arrived.length;
    if (this.#chosen >= this.#messages.length) this.#chosen = 0;
    this.#count();
    for (const each of arrived) this.#announce(`${each.from}: ${each.text}`);
    if (arrived.length > 0) {
      this.#buzz();
      if (this.#mode === "notice" || (this.#mode === "ended" && !this.#text)) this.#go("idle");
      else if (this.#mode === "idle" || this.#mode === "inbox") this.#draw();
    }
  }

  #takePrompt(prompt) {
    const before = this.#prompt;
    this.#prompt = prompt;
    if (prompt && prompt.id !== before?.id && this.#mode !== "running") {
      this.#go("prompt");
      this.#buzz();
      this.#announce(this.#promptText());
    } else if (!prompt && this.#mode === "prompt") {
      this.#go("notice", { text: say("prompt_gone") });
    }
  }

  // --- what the person does

  #listen() {
    // A pressed key leaves the focus where it is, so that typing and pressing mix. What the screen
    // shows can be marked and copied as anywhere.
    this.root.querySelector(".handset").addEventListener("pointerdown", (event) => {
      if (event.target.closest(".view, .entry")) return;
      event.preventDefault();
      this.focus();
    });
    for (const key of this.root.querySelectorAll("[data-key]")) {
      key.addEventListener("click", () => this.#press(key.dataset.key));
    }
    this.#view.addEventListener("click", (event) => {
      const row = event.target.closest("[data-place]");
      if (row) this.#open(Number(row.dataset.place));
      const link = event.target.closest("[data-payload]");
      if (link) this.#onLink(link.dataset.payload);
    });
    for (const side of ["left", "right"]) {
      this.#lcd.querySelector(`.soft-${side}`).addEventListener("click", () => this.#press(side));
    }
    this.#input.addEventListener("focus", () => this.#fresh && this.#input.select());
    this.#input.addEventListener("input", () => {
      this.#fresh = false;
      if (this.#mode === "prompt") this.#input.value = this.#input.value.replace(/\D/g, "");
      this.#drawSoft();
    });
    this.root.addEventListener("keydown", (event) => this.#type(event));
  }

  #type(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest(".chat, .telegram")) return;
    const onKey = event.target.closest("button");
    if (event.key === "Escape") {
      event.preventDefault();
      this.#press("end");
    } else if (event.key.startsWith("Arrow") && onKey?.closest(".keys")) {
      event.preventDefault();
      this.#walk(onKey, event.key);
    } else if (onKey) {
      return; // Enter and Space press it
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#press("call");
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      event.preventDefault();
      this.#press(event.key === "ArrowUp" ? "up" : "down");
    } else if (event.target !== this.#input) {
      if (event.key.length === 1) this.#putAsideForTyping();
      if (this.#takesText() && (event.key.length === 1 || event.key === "Backspace")) this.#focus();
    }
  }

  /** The arrow keys go to the nearest key on that side; Tab sees all keys as one. */
  #walk(from, arrow) {
    const [right, down] = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    }[arrow];
    const middle = (key) => {
      const { x, y, width, height } = key.getBoundingClientRect();
      return [x + width / 2, y + height / 2];
    };
    const [x, y] = middle(from);
    let to = null;
    let shortest = Infinity;
    for (const key of this.root.querySelectorAll(".keys button")) {
      const [toX, toY] = middle(key);
      const along = (toX - x) * right + (toY - y) * down;
      const across = Math.abs((toX - x) * down) + Math.abs((toY - y) * right);
      if (along > 4 && along + 2 * across < shortest) [to, shortest] = [key, along + 2 * across];
    }
    if (to === null) return;
    from.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }

  #press(key) {
    const doing = {
      call: () => this.#primary(),
      ok: () => this.#primary(),
      left: () => (this.#mode === "idle" ? this.#openInbox() : this.#primary()),
      right: () => (this.#mode === "idle" ? this.#primary() : this.#away()),
      end: () => this.#away(),
      clear: () => this.#erase(),
      up: () => this.#move(-1),
      down: () => this.#move(1),
    }[key];
    if (doing) doing();
    else this.#append(key);
  }

  #takesText() {
    if (this.#mode === "message") return this.#messages[this.#chosen].from !== MPESA;
    return Boolean(MODES[this.#mode].entry);
  }

  /** Whether a message to Sokoni stands written. */
  #isWriting() {
    return (this.#mode === "inbox" || this.#mode === "message") && this.#input.value.trim() !== "";
  }

  /** Typing over a screen that only waits to be read begins a new number. */
  #putAsideForTyping() {
    if (this.#mode === "ended" || this.#mode === "notice") this.#go("idle", { empty: true });
  }

  #append(letter) {
    this.#putAsideForTyping();
    if (!this.#takesText() || this.#input.value.length >= this.#input.maxLength) {
      if (!this.#fresh) return;
    }
    this.#input.value = this.#fresh ? letter : this.#input.value + letter;
    this.#typed();
  }

  #erase() {
    if (!this.#takesText()) return;
    this.#input.value = this.#fresh ? "" : this.#input.value.slice(0, -1);
    this.#typed();
  }

  #typed() {
    this.#fresh = false;
    this.#input.scrollLeft = this.#input.scrollWidth;
    this.#drawSoft();
  }

  /** The green key, OK, Enter. */
  #primary() {
    if (this.#isWriting()) return void this.#sendSms();
    const doing = {
      idle: () => this.#dial(),
      session: () => this.#reply(),
      prompt: () => this.#pay(),
      ended: () => this.#go("idle"),
      notice: () => this.#go("idle"),
      inbox: () => this.#open(this.#chosen),
      message: () => this.#openNext(),
    }[this.#mode];
    doing?.();
  }

  /** The red key, Cancel, Back, Escape. */
  #away() {
    const doing = {
      idle: () => this.#go("idle"),
      session: () => this.#hangUp(),
      prompt: () => this.#answer({ cancel: true }),
      ended: () => this.#go("idle"),
      notice: () => this.#go("idle"),
      inbox: () => this.#go("idle"),
      message: () => this.#go("inbox"),
    }[this.#mode];
    doing?.();
  }

  #move(step) {
    if (this.#mode === "inbox" && this.#messages.length > 0) {
      this.#chosen = (this.#chosen + step + this.#messages.length) % this.#messages.length;
      this.#draw();
    } else {
      this.#view.scrollBy({ top: step * 54, behavior: "smooth" });
    }
  }

  async #dial() {
    const code = this.#input.value.trim() || this.#code;
    await this.#ask("dial", { number: this.number, code });
  }

  async #reply() {
    await this.#ask("reply", { session: this.#session, text: this.#input.value });
  }

  async #ask(verb, body) {
    const before = { text: this.#text, note: "" };
    if (verb === "dial") this.#session = null;
    this.#go("running", verb === "reply" ? before : { text: "" });
    let view;
    try {
      view = await call("POST", verb, body);
    } catch (error) {
      this.#session = null;
      this.#go("ended", { text: error instanceof TypeError ? say("no_answer") : error.message });
      return;
    }
    if (view.open) {
      this.#session = view.session;
      this.#go("session", { text: view.screen });
      this.#takeSession(this.#newest);
    } else {
      this.#session = null;
      this.#go("ended", { text: view.screen, note: say("session_ended") });
      if (this.#prompt) this.#go("prompt");
    }
  }

  async #hangUp() {
    const session = this.#session;
    this.#session = null;
    if (this.unread > 0) this.#go("idle");
    else this.#go("ended", { text: "", note: say("hung_up") });
    await call("POST", "hangup", { session }).catch(() => {}); // it may have ended by itself
  }

  async #pay() {
    if (this.#input.value.length !== PIN_DIGITS) return;
    await this.#answer({ pin: this.#input.value });
  }

  async #answer(answer) {
    const prompt = this.#prompt;
    this.#go("running", { text: this.#promptText() });
    try {
      const outcome = await call("POST", `prompts/${prompt.id}`, answer);
      this.#go("notice", { text: say(`prompt_${outcome.result}`, {}, outcome.message) });
    } catch (error) {
      const text = error instanceof TypeError ? say("no_answer") : say("prompt_gone");
      this.#go("notice", { text });
    }
  }

  async #sendSms() {
    const text = this.#input.value;
    this.#go("running", { text });
    try {
      await call("POST", "sms", { from: this.number, text });
      this.#go("notice", { text: say("sms_sent", { code: this.#smsCode }) });
    } catch {
      this.#go("notice", { text: say("sms_not_sent") });
    }
  }

  #openInbox() {
    this.#chosen = 0;
    this.#go("inbox");
  }

  #open(place) {
    const message = this.#messages[place];
    if (!message) return;
    this.#chosen = place;
    this.#read.add(message.id);
    this.#count();
    this.#go("message");
  }

  #openNext() {
    if (this.#chosen + 1 < this.#messages.length) this.#open(this.#chosen + 1);
    else this.#go("inbox");
  }

  // --- drawing

  /** Change the mode. text, note: of the screen; empty: nothing stands ready to dial. */
  #go(mode, { text = "", note = "", empty = false } = {}) {
    const hadFocus = this.#lcd.contains(document.activeElement);
    [this.#mode, this.#text, this.#note] = [mode, text, note];
    this.#fresh = mode === "idle" && !empty;
    this.#input.value = this.#fresh ? this.#code : "";
    this.#input.inputMode = mode === "prompt" ? "numeric" : "text";
    const lengths = { prompt: PIN_DIGITS, inbox: SMS_LETTERS_MAX, message: SMS_LETTERS_MAX };
    this.#input.maxLength = lengths[mode] ?? USSD_LETTERS_MAX;
    this.#draw();
    this.#view.scrollTop = 0;
    if (hadFocus) this.focus();
  }

  #draw() {
    const mode = MODES[this.#mode];
    this.#lcd.dataset.mode = this.#mode;
    this.#entry.hidden = !this.#takesText();
    if (mode.entry) this.#entry.querySelector(".entry-name").textContent = say(mode.entry);
    this.#drawSoft();
    const screens = {
      idle: () => this.#drawIdle(),
      prompt: () => this.#drawPrompt(),
      inbox: () => this.#drawInbox(),
      message: () => this.#drawMessage(),
    };
    this.#view.replaceChildren(...(screens[this.#mode] ?? (() => this.#drawText()))());
    this.tick();
  }

  #drawSoft() {
    const labels = { ...MODES[this.#mode] };
    if (this.#mode === "message" && this.#chosen + 1 >= this.#messages.length) delete labels.left;
    if (this.#mode === "inbox" && this.#messages.length === 0) delete labels.left;
    if (this.#isWriting()) labels.left = "soft_send";
    for (const side of ["left", "right"]) {
      const label = labels[side] ? say(labels[side]) : "\u00a0";
      this.#lcd.querySelector(`.soft-${side}`).textContent = label;
    }
  }

  // Each screen is heard whole by those who listen to it.
  #drawText() {
    const drawn = [];
    if (this.#text) drawn.push(make("p", { class: "text" }, this.#text));
    if (this.#mode === "running") drawn.push(make("p", { class: "note wait" }, say("running")));
    if (this.#note) drawn.push(make("p", { class: "note" }, this.#note));
    if (this.#mode === "session" || this.#mode === "ended") {
      this.#announce([this.#text, this.#note].filter(Boolean).join("\n"));
    }
    return drawn;
  }

  #drawIdle() {
    const drawn = [
      make("p", { class: "time" }, clock(Date.now())),
      make("p", { class: "date" }, date(Date.now())),
    ];
    if (this.unread > 0) {
      const count = this.unread === 1 ? say("messages_new_one") : say("messages_new", { count: this.unread });
      const newest = this.#messages.find((each) => !this.#read.has(each.id));
      drawn.push(
        make("button", { class: "arrived", type: "button", tabindex: "-1", "data-place": this.#messages.indexOf(newest) },
          make("b", {}, count), make("span", {}, `${newest.from}: ${newest.text}`)),
      );
    } else {
      drawn.push(make("p", { class: "invite" }, say("press_call")));
    }
    return drawn;
  }

  #drawPrompt() {
    return [
      make("p", { class: "banner" }, "M-PESA"),
      make("p", { class: "text" }, this.#promptText()),
      make("p", { class: "left", "aria-hidden": "true" }, make("i")),
    ];
  }

  #drawInbox() {
    const head = make("p", { class: "banner" }, say("messages"));
    if (this.#messages.length === 0) return [head, make("p", { class: "note" }, say("messages_none"))];
    const rows = this.#messages.map((each, place) => {
      const unread = !this.#read.has(each.id);
      const row = make("li", { "data-place": place },
        make("b", {}, each.from), make("time", {}, clock(each.at)), make("span", {}, each.text));
      row.classList.toggle("chosen", place === this.#chosen);
      row.classList.toggle("unread", unread);
      if (unread) row.prepend(make("i", { role: "img", "aria-label": say("unread") }));
      return row;
    });
    queueMicrotask(() => rows[this.#chosen]?.scrollIntoView({ block: "nearest" }));
    return [head, make("ol", { class: "list" }, ...rows)];
  }

  #drawMessage() {
    const { from, text, at } = this.#messages[this.#chosen];
    const drawn = [
      make("p", { class: "banner" }, from, make("time", {}, clock(at))),
      make("p", { class: "text" }, text),
    ];
    const payload = payloadOf(text);
    if (payload) {
      drawn.push(make("button", { class: "link", type: "button", "data-payload": payload }, say("link_open")));
    }
    return drawn;
  }

  #promptText() {
    const { amount, business, account } = this.#prompt;
    return say("prompt", { amount: shillings(amount), business, account });
  }

  #count() {
    this.unread = this.#messages.filter((each) => !this.#read.has(each.id)).length;
    const envelope = this.#lcd.querySelector(".envelope");
    envelope.hidden = this.unread === 0;
    envelope.querySelector("b").textContent = this.unread;
    this.#onBadge(this);
  }

  #announce(text) {
    this.#news.textContent = text;
  }

  #buzz() {
    const handset = this.root.querySelector(".handset");
    handset.classList.remove("buzz");
    void handset.offsetWidth; // begin anew
    handset.classList.add("buzz");
  }

  #focus() {
    (this.#takesText() ? this.#input : this.#view).focus({ preventScroll: true });
    if (this.#takesText() && !this.#fresh) {
      const end = this.#input.value.length;
      this.#input.setSelectionRange(end, end);
    }
  }
}
