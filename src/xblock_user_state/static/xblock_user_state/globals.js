/* Globals that blocks expect on the page of every host. Load this after jQuery and before the blocks' scripts. */
(function () {
  "use strict";

  // CSRF protection stays on: every request of a block carries the token, whether jQuery or fetch sends it.
  const token = () => (document.cookie.match(/(?:^|; )csrftoken=([^;]+)/) || [])[1] || "";
  const isOurs = (url) => new URL(url, location.href).origin === location.origin;

  $.ajaxPrefilter((options, _original, request) => {
    if (isOurs(options.url)) request.setRequestHeader("X-CSRFToken", token());
    // jQuery 3 removed these names, but blocks written for jQuery 1 call them.
    request.success = request.done;
    request.error = request.fail;
  });

  const plainFetch = window.fetch;
  window.fetch = (resource, options) => {
    const request = new Request(resource, options);
    if (isOurs(request.url)) request.headers.set("X-CSRFToken", token());
    return plainFetch(request);
  };

  // Open edX's globals, as far as the blocks of this course use them.
  $.postWithPrefix = $.post;
  window.gettext = (text) => text;
  window.ngettext = (one, many, count) => (count === 1 ? one : many);
  window.interpolate = (text, values) => text.replace(/%s/g, () => values.shift());
  window.Logger = { log() {}, listen() {} };
  window.SR = { clear() {}, readText: announce, readTexts: (texts) => announce(texts.join("\n")) };
  window.edx = {
    StringUtils: {
      interpolate: (text, values) => text.replace(/{\s*(\w+)\s*}/g, (all, name) => (name in values ? values[name] : all)),
    },
  };
  window.MathJax = { Hub: { Queue() {}, getAllJax: () => [], Startup: { signal: { Interest() {} } } } };

  // The part of Underscore that the blocks' templates call.
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "`": "&#x60;" };
  window._ = {
    escape: (text) => String(text ?? "").replace(/[&<>"'`]/g, (character) => entities[character]),
    extend: Object.assign,
    mapObject: (object, change) =>
      Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)])),
    partial: (fn, ...first) => (...rest) => fn(...first, ...rest),
  };

  function announce(text) {
    let region = document.getElementById("announcements");
    if (!region) {
      region = document.createElement("div");
      region.id = "announcements";
      region.className = "sr";
      region.setAttribute("aria-live", "polite");
      document.body.append(region);
    }
    region.textContent = text;
  }
})();
