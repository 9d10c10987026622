/* The browser's half of the XBlock runtime: finds the blocks of the page and starts their scripts. */
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

  // Children first: a container's script may ask for them at once.
  function start(element) {
    element.xblockChildren = within(element).map(start);
    return initialize(element, [element]);
  }

  function startAside(element) {
    const decorated = page.querySelector(`${BLOCK}[data-usage="${CSS.escape(element.dataset.block_id)}"]`);
    initialize(element, [element, $(decorated)]);
  }

  function initialize(element, elements) {
    const { init, name } = element.dataset;
    const settings = element.querySelector(":scope > script.xblock_json_init_args");
    const options = settings ? JSON.parse(settings.textContent) : {};
    // Some of these are classes, others are functions that return the block: `new` does for both.
    const block = init ? new window[init](runtime, ...elements, options) : {};
    return Object.assign(block, { element, name, type: element.dataset.blockType });
  }

  // The blocks inside of this element, but not those inside of other blocks.
  function within(element) {
    const parent = element.closest(BLOCK);
    return [...element.querySelectorAll(BLOCK)].filter((one) => one.parentElement.closest(BLOCK) === parent);
  }

  // Blocks name others by what they got from this runtime: an element, a jQuery object, or the block itself.
  function elementOf(owner) {
    return $(owner.element || owner)[0];
  }

  within(page).forEach(start);
  page.querySelectorAll(ASIDE).forEach(startAside);
  page.dataset.started = "yes";
})();
