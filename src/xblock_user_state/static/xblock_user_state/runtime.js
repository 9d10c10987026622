/* The browser part of the XBlock runtime. It finds the blocks of the page and starts their scripts. */
(function () {
  "use strict";

  const page = document.getElementById("blocks");
  const BLOCK = ".xblock-v1";
  const ASIDE = ".xblock_asides-v1";

  const runtime = {
    handlerUrl(element, handler, suffix, query) {
      const owner = $(element).closest(`${BLOCK}, ${ASIDE}`)[0];
      const path = [encodeURIComponent(owner.dataset.usage), "handler", encodeURIComponent(handler), suffix || ""];
      return page.dataset.handlers + path.join("/") + (query ? "?" + query : "");
    },
    children: (block) => elementOf(block).xblockChildren,
    childMap: (block, name) => elementOf(block).xblockChildren.find((child) => child.name === name),
    notify() {},
  };

  // Children first: the script of a container may use them immediately.
  function start(element) {
    element.xblockChildren = within(element).map(start);
    return initialize(element, [element]);
  }

  function startAside(element) {
    const decorated = page.querySelector(`${BLOCK}[data-usage="${CSS.escape(element.dataset.block_id)}"]`);
    initialize(element, [element, $(decorated)]);
  }

  function initialize(element, elements) {
    const { name } = element.dataset;
    let block = {};
    try {
      block = run(element, elements);
    } catch (error) {
      // The other blocks of the page go on working. The error still reaches the console, and `window.onerror`.
      reportError(error);
    }
    return Object.assign(block, { element, name, type: element.dataset.blockType });
  }

  function run(element, elements) {
    const { init } = element.dataset;
    if (!init) return {};
    const settings = element.querySelector(":scope > script.xblock_json_init_args");
    const options = settings ? JSON.parse(settings.textContent) : {};
    // Some blocks define a class, others a function that returns an object. `new` works for both.
    return new window[init](runtime, ...elements, options);
  }

  // The direct child blocks of an element: not the blocks nested in other blocks.
  function within(element) {
    const parent = element.closest(BLOCK);
    return [...element.querySelectorAll(BLOCK)].filter((block) => block.parentElement.closest(BLOCK) === parent);
  }

  // A block may refer to another block by its element, by a jQuery object, or by the object that this runtime returned.
  function elementOf(owner) {
    return $(owner.element || owner)[0];
  }

  within(page).forEach(start);
  page.querySelectorAll(ASIDE).forEach(startAside);
  page.dataset.started = "yes";
})();
