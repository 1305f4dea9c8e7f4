// A stand-in for Stripe.js (https://js.stripe.com) that talks to the sandbox only.
// It offers what a card form needs: elements, confirmSetup, confirmPayment and the card variants.
(() => {
  const script = document.currentScript && document.currentScript.src;
  const base = script ? new URL("../v1/", script).href : "/stripe/v1/";

  const encode = (value, name, form) => {
    if (value !== null && typeof value === "object") {
      for (const [key, inner] of Object.entries(value)) encode(inner, `${name}[${key}]`, form);
    } else if (value !== undefined) {
      form.append(name, String(value));
    }
    return form;
  };

  const call = async (key, method, path, values) => {
    const form = new URLSearchParams();
    for (const [name, value] of Object.entries(values)) encode(value, name, form);
    const target = base + path + (method === "GET" ? `?${form}` : "");
    const answer = await fetch(target, {
      method,
      headers: { Authorization: `Bearer ${key}` },
      body: method === "GET" ? undefined : form,
    });
    const body = await answer.json();
    return answer.ok ? { ok: body } : { error: body.error };
  };

  // The fields of a card, in the place the page gives us.
  class CardElement {
    constructor() {
      this.handlers = {};
      this.root = document.createElement("div");
      this.fields = {};
      const wanted = { number: "4242 4242 4242 4242", expiry: "12 / 34", cvc: "123" };
      for (const [name, example] of Object.entries(wanted)) {
        const field = document.createElement("input");
        Object.assign(field, { name, placeholder: example, autocomplete: `cc-${name}` });
        field.setAttribute("aria-label", `card ${name}`);
        field.addEventListener("input", () => this.emit("change", { complete: this.complete() }));
        this.fields[name] = field;
        this.root.append(field);
      }
    }
    mount(target) {
      const place = typeof target === "string" ? document.querySelector(target) : target;
      place.append(this.root);
      queueMicrotask(() => this.emit("ready", {}));
    }
    unmount() { this.root.remove(); }
    on(name, handler) { this.handlers[name] = handler; return this; }
    emit(name, event) { if (this.handlers[name]) this.handlers[name](event); }
    complete() { return Object.values(this.fields).every((field) => field.value.trim()); }
    data() {
      const [month, year] = this.fields.expiry.value.split("/").map((part) => part.trim());
      return {
        type: "card",
        card: {
          number: this.fields.number.value.replace(/\s/g, ""),
          exp_month: month,
          exp_year: year && year.length === 2 ? `20${year}` : year,
          cvc: this.fields.cvc.value,
        },
      };
    }
  }

  window.Stripe = (key) => {
    const method = async (source) => {
      if (typeof source === "string") return { ok: { id: source } };
      return call(key, "POST", "payment_methods", source.data());
    };

    // Confirm, then let the bank ask its question in a page of its own when it has one.
    const confirm = async (kind, secret, source, options) => {
      const id = secret.split("_secret_")[0];
      const card = await method(source);
      if (card.error) return { error: card.error };
      const values = { client_secret: secret, payment_method: card.ok.id };
      if (options.return_url) values.return_url = options.return_url;
      const done = await call(key, "POST", `${kind}s/${id}/confirm`, values);
      if (done.error) return { error: done.error };
      const name = kind === "setup_intent" ? "setupIntent" : "paymentIntent";
      const next = done.ok.next_action;
      if (next && next.type === "redirect_to_url") {
        window.location.assign(next.redirect_to_url.url);
        return new Promise(() => {});
      }
      if (next && next.use_stripe_sdk) {
        const page = window.open(next.use_stripe_sdk.stripe_js, "_blank");
        while (page && !page.closed) await new Promise((go) => setTimeout(go, 500));
        const after = await call(key, "GET", `${kind}s/${id}`, { client_secret: secret });
        return after.error ? { error: after.error } : { [name]: after.ok };
      }
      if (options.return_url && options.redirect !== "if_required") {
        const back = new URL(options.return_url);
        back.searchParams.set(kind, id);
        back.searchParams.set(`${kind}_client_secret`, secret);
        back.searchParams.set("redirect_status", "succeeded");
        window.location.assign(back);
      }
      return { [name]: done.ok };
    };

    const modern = (kind) => ({ elements, clientSecret, confirmParams = {}, redirect }) =>
      confirm(kind, clientSecret || elements.clientSecret,
        confirmParams.payment_method || elements.element,
        { return_url: confirmParams.return_url, redirect });
    const classic = (kind) => (secret, { payment_method: source } = {}) =>
      confirm(kind, secret, source && source.card ? source.card : source, {});
    const retrieve = (kind, name) => async (secret) => {
      const found = await call(key, "GET", `${kind}s/${secret.split("_secret_")[0]}`,
        { client_secret: secret });
      return found.error ? { error: found.error } : { [name]: found.ok };
    };

    return {
      elements: ({ clientSecret } = {}) => {
        const group = { clientSecret, element: null };
        group.create = () => (group.element = new CardElement());
        group.getElement = () => group.element;
        group.submit = async () => (group.element && group.element.complete()
          ? {} : { error: { type: "validation_error", message: "Your card is incomplete." } });
        return group;
      },
      confirmSetup: modern("setup_intent"),
      confirmPayment: modern("payment_intent"),
      confirmCardSetup: classic("setup_intent"),
      confirmCardPayment: classic("payment_intent"),
      retrieveSetupIntent: retrieve("setup_intent", "setupIntent"),
      retrievePaymentIntent: retrieve("payment_intent", "paymentIntent"),
    };
  };
})();
