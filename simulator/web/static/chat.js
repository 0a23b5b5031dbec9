// A person's chat with the bot: bubbles, buttons under them, keys below, and what can be sent.

import { call } from "./calls.js";
import { clock, language, make, say } from "./words.js";

const TOI_MARKET = { latitude: -1.3009, longitude: 36.7703 };
const TOAST_MS = 4_000;
const SPIN_MS_MAX = 15_000;
const TAGS = { bold: "b", italic: "i", underline: "u", strikethrough: "s", code: "code", pre: "code" };
// A link into the chat, as our texts carry it.
const LINK = /(?:https?:\/\/)?t\.me\/\w+\?start=([\w-]{1,64})/;

/** What a link says at the start; null where it leads elsewhere. */
export const payloadOf = (text) => LINK.exec(text)?.[1] ?? null;

export class Chat {
  /** root: the phone's <article>, in which the chat stands beside the handset. */
  constructor(root) {
    this.#root = root;
    this.number = root.dataset.number;
    const find = (selector) => root.querySelector(selector);
    this.#toggle = find(".telegram");
    this.#pane = find(".chat");
    this.#talk = find(".talk");
    this.#toast = find(".toast");
    this.#keys = find(".reply-keys");
    this.#extras = find(".extras");
    this.#form = find(".write");
    this.#input = this.#form.elements.text;
    this.#begin = find(".begin");
    this.#listen();
  }

  #root; #toggle; #pane; #talk; #toast; #keys; #extras; #form; #input; #begin;
  #state = null;
  #bubbles = new Map(); // by message id: {message, element}
  #seen = 0; // the newest message that was shown
  #toasts = null; // how many have popped up; null before the first news
  #answered = new Set(); // ids of taps
  #prompt = null; // id of the M-Pesa prompt that was last on the phone
  #hiding = null;
  #follows = true; // the newest message; not whoever has scrolled up to read
  #top = 0; // where the talk was last scrolled to
  #sizes = new ResizeObserver(() => this.#follow());

  get isOpen() {
    return !this.#pane.hidden;
  }

  /** What the world says of the chat now, and of the prompt on the phone. */
  take(state, prompt) {
    const before = this.#state;
    this.#state = state;
    // A prompt comes up over whatever the phone shows; only the small screen hides the handset.
    if (prompt && prompt.id !== this.#prompt && this.#isCovering()) this.open(false);
    this.#prompt = prompt?.id ?? null;
    if (before === null) this.#seen = state.messages.at(-1)?.id ?? 0;
    this.#drawMessages();
    this.#takeToasts();
    if (before?.state !== state.state) this.#drawBottom();
    if (JSON.stringify(before?.reply_keyboard) !== JSON.stringify(state.reply_keyboard)) this.#drawKeys();
    if (JSON.stringify(before?.commands) !== JSON.stringify(state.commands)) this.#drawCommands();
    this.#count();
  }

  open(open) {
    this.#pane.hidden = !open;
    this.#root.classList.toggle("with-chat", open);
    this.#toggle.setAttribute("aria-expanded", String(open));
    if (open) {
      this.#count();
      this.#follow(true);
      this.#root.scrollIntoView({ block: "nearest", behavior: "smooth" });
    }
  }

  /** Follow a link into the chat. */
  async openWith(payload) {
    this.open(true);
    await this.#send("start", { payload, language });
    this.#focus();
  }

  /** Draw again, in another language. */
  redraw() {
    if (this.#state === null) return;
    this.#bubbles.clear();
    this.#talk.replaceChildren();
    this.#follows = true;
    this.#drawMessages();
    this.#drawBottom();
    this.#count();
  }

  // --- what the person does

  #listen() {
    this.#sizes.observe(this.#talk); // what opens below leaves it less room
    this.#talk.addEventListener("scroll", () => {
      const { scrollTop } = this.#talk;
      // Something may have grown since we scrolled to the end: only who goes up leaves it.
      this.#follows = this.#isAtEnd() || (this.#follows && scrollTop >= this.#top);
      this.#top = scrollTop;
    });
    this.#toggle.addEventListener("click", () => {
      this.open(!this.isOpen);
      if (this.isOpen) this.#focus();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say();
    });
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#say();
    });
    this.#pane.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      if (!this.#extras.hidden) this.#showExtras(false);
      else {
        this.open(false);
        this.#toggle.focus();
      }
    });
    this.#form.querySelector(".attach").addEventListener("click", () => {
      this.#showExtras(this.#extras.hidden);
      if (!this.#extras.hidden) this.#extras.querySelector("input, button").focus();
    });
    this.#begin.addEventListener("click", async () => {
      if (this.#state.state === "blocked") await this.#send("unblock");
      else await this.#send("start", { language }); // her Telegram speaks what the page does
    });
    this.#extras.addEventListener("click", (event) => {
      const { sample, share, command } = event.target.closest("button")?.dataset ?? {};
      if (sample) this.#attach("photo", { sample });
      else if (share === "location") this.#attach("location", TOI_MARKET);
      else if (share) this.#attach(share);
      else if (command) this.#attach("text", { text: command });
    });
    this.#extras.querySelector("input").addEventListener("change", (event) => this.#upload(event.target));
    this.#keys.addEventListener("click", async (event) => {
      const key = event.target.closest("button");
      if (!key) return;
      const { asks } = key.dataset;
      if (asks === "contact") await this.#send("contact");
      else if (asks === "location") await this.#send("location", TOI_MARKET);
      else await this.#send("text", { text: key.textContent });
      this.#focus();
    });
    this.#talk.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-tap]");
      if (button) this.#tap(button);
    });
  }

  async #say() {
    const text = this.#input.value.trim();
    if (!text) return;
    this.#input.value = "";
    if (!(await this.#send("text", { text }))) this.#input.value = text;
  }

  async #tap(button) {
    const { message, tap: data } = button.dataset;
    button.classList.add("spins");
    const query = await this.#send("tap", { message_id: Number(message), data });
    const stop = () => button.classList.remove("spins");
    if (!query || this.#answered.has(query.query_id)) stop();
    else {
      button.dataset.query = query.query_id;
      setTimeout(stop, SPIN_MS_MAX);
    }
  }

  async #attach(verb, body) {
    this.#showExtras(false);
    await this.#send(verb, body);
    this.#focus();
  }

  async #upload(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    const bytes = new Uint8Array(await file.arrayBuffer());
    let binary = "";
    for (let at = 0; at < bytes.length; at += 0x8000) {
      binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    }
    await this.#attach("photo", { bytes_base64: btoa(binary) });
  }

  /** The answer, or null where it was refused; then the chat says so. */
  async #send(verb, body = {}) {
    try {
      return await call("POST", `telegram/${verb}`, { number: this.number, ...body });
    } catch (error) {
      const why = error instanceof TypeError ? say("no_answer") : error.message;
      this.#pop(say("chat_not_sent", { why }));
      return null;
    }
  }

  // --- drawing

  #drawMessages() {
    const shown = new Set(this.#state.messages.map((each) => each.id));
    for (const [id, { element }] of this.#bubbles) {
      if (shown.has(id)) continue;
      this.#sizes.unobserve(element);
      element.remove();
      this.#bubbles.delete(id);
    }
    let changed = false;
    for (const message of this.#state.messages) {
      const known = this.#bubbles.get(message.id);
      if (known && JSON.stringify(known.message) === JSON.stringify(message)) continue;
      const element = drawMessage(message);
      changed = true;
      if (known) {
        const had = known.element.contains(document.activeElement);
        element.classList.add("changed");
        this.#sizes.unobserve(known.element);
        known.element.replaceWith(element);
        if (had) (element.querySelector("button") ?? this.#input).focus({ preventScroll: true });
      } else {
        this.#talk.append(element);
        if (message.from === "person") this.#follows = true;
      }
      this.#sizes.observe(element); // a picture grows when it comes
      this.#bubbles.set(message.id, { message, element });
    }
    if (this.#bubbles.size === 0) this.#talk.replaceChildren(make("p", { class: "about" }, say("chat_about")));
    else this.#talk.querySelector(".about")?.remove();
    if (changed) this.#follow();
  }

  #takeToasts() {
    const { toasts } = this.#state;
    const first = this.#toasts === null;
    const fresh = toasts.filter((each) => !this.#answered.has(each.query_id));
    for (const each of fresh) {
      this.#answered.add(each.query_id);
      this.#talk.querySelector(`[data-query="${each.query_id}"]`)?.classList.remove("spins");
      if (each.text && !first) this.#pop(each.text, each.alert);
    }
    this.#toasts = toasts.length;
  }

  #pop(text, alert = false) {
    clearTimeout(this.#hiding);
    this.#toast.textContent = text;
    this.#toast.classList.toggle("alert", alert);
    this.#toast.hidden = false;
    this.#hiding = setTimeout(() => (this.#toast.hidden = true), alert ? 2 * TOAST_MS : TOAST_MS);
  }

  /** The box to write in, or the one button that there is instead. */
  #drawBottom() {
    const { state } = this.#state;
    const started = state === "started";
    const hadFocus = this.#form.contains(document.activeElement) || document.activeElement === this.#begin;
    this.#form.hidden = !started;
    this.#begin.hidden = started;
    this.#begin.disabled = state === "deactivated";
    const words = { new: say("chat_start"), blocked: say("chat_unblock"), deactivated: say("chat_deactivated") };
    this.#begin.textContent = words[state] ?? "";
    this.#keys.hidden = !started || !this.#state.reply_keyboard;
    if (!started) this.#showExtras(false);
    if (hadFocus) this.#focus();
  }

  #drawKeys() {
    const rows = this.#state.reply_keyboard ?? [];
    this.#keys.hidden = rows.length === 0 || this.#state.state !== "started";
    this.#keys.replaceChildren(...rows.map((row) => make("div", {}, ...row.map(({ label, asks }) =>
      make("button", { type: "button", "data-asks": asks ?? "" }, label)))));
  }

  #drawCommands() {
    this.#extras.querySelector(".chat-commands").replaceChildren(...this.#state.commands.map(
      ({ command, description }) => make("button", { type: "button", class: "extra", "data-command": `/${command}` },
        make("b", {}, `/${command}`), make("span", {}, description))));
  }

  #showExtras(show) {
    this.#extras.hidden = !show;
    this.#form.querySelector(".attach").setAttribute("aria-expanded", String(show));
  }

  #count() {
    const { messages } = this.#state;
    if (this.isOpen) this.#seen = messages.at(-1)?.id ?? this.#seen;
    const count = messages.filter((each) => each.from === "bot" && each.id > this.#seen).length;
    const badge = this.#toggle.querySelector(".unread");
    badge.hidden = count === 0;
    badge.textContent = count;
    if (count > 0) this.#toggle.setAttribute("aria-label", say("telegram_unread", { count }));
    else this.#toggle.removeAttribute("aria-label");
  }

  #isCovering() {
    return this.isOpen && getComputedStyle(this.#root.querySelector(".handset")).display === "none";
  }

  #isAtEnd() {
    return this.#talk.scrollHeight - this.#talk.scrollTop - this.#talk.clientHeight < 80;
  }

  /** Stay at the end, or go there. */
  #follow(anyway = this.#follows) {
    this.#follows = anyway;
    if (!anyway) return;
    this.#talk.scrollTop = this.#talk.scrollHeight;
    this.#top = this.#talk.scrollTop;
  }

  #focus() {
    (this.#form.hidden ? this.#begin : this.#input).focus({ preventScroll: true });
  }
}

function drawMessage(message) {
  const bubble = make("div", { class: "bubble" });
  if (message.photo) {
    const { file_id: id, width, height } = message.photo;
    const alt = message.text || say("chat_shared_photo");
    const picture = make("img", { src: `/simulator/api/telegram/file/${id}`, alt, width, height });
    bubble.append(picture);
  }
  if (message.text) bubble.append(make("p", { class: "said" }, ...formatted(message)));
  const shared = sharedWords(message);
  if (shared) bubble.append(make("p", { class: "shared" }, shared));
  const note = message.edited ? `${say("chat_edited")} ` : "";
  bubble.append(make("time", {}, note, clock(message.at)));
  const element = make("div", { class: `message ${message.from}`, "data-message": message.id }, bubble);
  if (message.buttons.length > 0) {
    element.append(make("div", { class: "buttons" }, ...message.buttons.map((row) => make("div", {},
      ...row.map((button) => drawButton(message, button))))));
  }
  return element;
}

function drawButton(message, { label, data, url }) {
  if (url) return make("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, label);
  return make("button", { type: "button", "data-tap": data, "data-message": message.id }, label);
}

function sharedWords({ kind, contact, location }) {
  if (contact) return say("chat_shared_contact", { number: contact.phone_number });
  if (location) return say("chat_shared_place", location);
  if (kind === "document") return say("chat_shared_file");
  return kind === "sticker" ? say("chat_shared_sticker") : "";
}

/** The text with its bold and the like; offsets are what JavaScript counts, too. */
function formatted({ text, entities }) {
  const drawn = [];
  let at = 0;
  for (const { type, offset, length } of entities) {
    if (offset < at || !TAGS[type]) continue;
    drawn.push(text.slice(at, offset), make(TAGS[type], {}, text.slice(offset, offset + length)));
    at = offset + length;
  }
  return [...drawn, text.slice(at)].filter((each) => each !== "");
}
