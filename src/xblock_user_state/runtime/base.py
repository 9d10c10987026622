"""The base class of a host's XBlock runtime."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.keys import UsageKey
from web_fragments.fragment import Fragment
from webob import Request, Response
from xblock.core import XBlock, XBlockAside
from xblock.exceptions import NoSuchUsage
from xblock.field_data import FieldData, ReadOnlyFieldData
from xblock.fields import ScopeIds
from xblock.plugin import PluginMissingError
from xblock.runtime import IdReader, Runtime

from xblock_user_state.runtime.field_data import LearnerFieldData
from xblock_user_state.runtime.ids import UsageKeyIds
from xblock_user_state.runtime.kvs import UserStateKeyValueStore
from xblock_user_state.runtime.rebinding import RebindUserService
from xblock_user_state.runtime.service import UserStateService

# Types that were found by the other name: XBlock remembers no type that is missing, and looking for one takes long.
_EXTRACTED: set[str] = set()

# Classes whose lazy properties are known, and the lock under which one thread gathers them.
_GATHERED: set[type] = set()
_GATHERING = threading.Lock()

# As Django's filter ``json_script`` escapes. These characters stand in strings of JSON only.
_SCRIPT_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


class BlockRuntime(Runtime):
    """Blocks without a learner, for code that loads courses; the base of `UserStateRuntime`.

    It has the methods and attributes that blocks from Open edX ask of a runtime. A subclass defines XBlock's
    ``handler_url``, ``local_resource_url`` and ``resource_url``. By default every installed aside decorates every
    block: limit them by ``applicable_aside_types``.
    """

    # XBlock deprecated this attribute, but its `get_block` still reads the learner's id from it.
    user_id: Any = None
    is_author_mode = False

    def load_block_type(self, block_type: str) -> type[XBlock]:
        """Return the class of an installed block type.

        The package ``xblocks-contrib`` registers its blocks as ``_problem_extracted`` and so on, because Open edX
        still registers ``problem`` itself. They are found by the short name too.
        """
        other_name = f"_{block_type}_extracted"
        if block_type in _EXTRACTED:
            return super().load_block_type(other_name)
        try:
            return super().load_block_type(block_type)
        except PluginMissingError as missing:
            try:
                found = super().load_block_type(other_name)
            except PluginMissingError:
                raise missing from None
        _EXTRACTED.add(block_type)
        return found

    def construct_xblock_from_class(self, cls: type[XBlock], *arguments: Any, **options: Any) -> XBlock:
        _gather(self.mixologist.mix(cls))
        return super().construct_xblock_from_class(cls, *arguments, **options)

    def create_aside(self, block_type: str, keys: ScopeIds) -> XBlockAside:
        _gather(self.load_aside_type(block_type))
        return super().create_aside(block_type, keys)

    def get_block_or_aside(self, usage_id: UsageKey) -> XBlock:
        """Return the block or aside of a handler's address.

        Raises ``NoSuchUsage`` for an aside that `applicable_aside_types` does not name.
        """
        if not isinstance(usage_id, AsideUsageKeyV2):
            return self.get_block(usage_id)
        if usage_id.aside_type not in self.applicable_aside_types(self.get_block(usage_id.usage_key)):
            raise NoSuchUsage(str(usage_id))
        # The older form of the key is a subclass, and would be the key of a state of its own.
        return self.get_aside(AsideUsageKeyV2(usage_id.usage_key, usage_id.aside_type))

    def publish(self, block: XBlock, event_type: str, event_data: Any) -> None:
        """Drop the event: without a learner there is no score to store."""

    def get_policy(self, usage_id: UsageKey) -> dict[str, Any]:
        """Return overrides of a block's settings: none. Some blocks from Open edX call this method."""
        return {}

    def _wrap_ele(
        self, block: XBlock, view: str, frag: Fragment, extra_data: Mapping[str, Any] | None = None
    ) -> Fragment:
        # XBlock does not escape this JSON, which may have values of learners: "</script>" would end the element.
        arguments, frag.json_init_args = frag.json_init_args, None
        try:
            wrapped = super()._wrap_ele(block, view, frag, extra_data)
        finally:
            frag.json_init_args = arguments
        if arguments is not None:
            script = f'<script type="json/xblock-args" class="xblock_json_init_args">{_script_json(arguments)}</script>'
            wrapped.content = f"{wrapped.content.removesuffix('</div>')}{script}</div>"
        return wrapped

    def _css_classes_for(self, block: XBlock, view: str) -> list[str]:
        classes: list[str] = super()._css_classes_for(block, view)
        # The stylesheets of blocks that were XModules select these classes, which Open edX adds.
        if getattr(block, "uses_xmodule_styles_setup", False):
            classes += ["xmodule_display", f"xmodule_{block.unmixed_class.__name__}"]
        return classes


class UserStateRuntime(BlockRuntime):
    """Blocks as one learner sees them, for one request. Hosts subclass it, and define the addresses."""

    def __init__(
        self,
        authored: FieldData,
        learner_state: UserStateKeyValueStore,
        *,
        ids: IdReader | None = None,
        services: Mapping[str, object] | None = None,
        mixins: tuple[type, ...] = (),
    ) -> None:
        """`authored` has the fields of the scopes content, settings, children and parent. Blocks can't change them.

        `learner_state` has the learner's fields, and takes the scores; `xblock_user_state.hosting.store_for` makes it.
        `ids` is an ``IdReader`` and ``IdGenerator`` of XBlock, by default `UsageKeyIds`. `services` are added to
        ``rebind_user`` (`RebindUserService`) and ``user_state``, with which learners read their
        own state only, and may replace them. `mixins` are classes for all blocks.
        """
        ids = ids or UsageKeyIds()
        own = {
            "rebind_user": RebindUserService(),
            "user_state": UserStateService(learner_state.client, learner_state.username),
        }
        super().__init__(ids, ids, services={**own, **(services or {})}, mixins=mixins)
        self.user_id = learner_state.user_id
        self.learner_state = learner_state
        self._authored = ReadOnlyFieldData(authored)
        self._stores = {self.user_id: learner_state}
        self._fields = {self.user_id: LearnerFieldData(self._authored, learner_state)}

    def service(self, block: XBlock, service_name: str) -> Any:
        # Each block's own, because blocks may be rebound. Many calls: one for each use of a field.
        if service_name == "field-data":
            return self._fields.get(block.scope_ids.user_id) or self._fields[self.user_id]
        return super().service(block, service_name)

    def rebind(self, block: XBlock, learner: Any) -> None:
        """Let `block` work for another learner, a user, from now on: it is the service ``rebind_user`` of this runtime.

        Fields that the block has changed so far are saved for the learner before. Later changes and the score belong
        to `learner`, and join the unit of work of the request: see `UserStateKeyValueStore.for_learner`. The children
        and asides that the block gets from now on are the learner's too. Nothing is checked here: a block rebinds
        itself when it knows who calls its handler, for instance from a signature.
        """
        store = self.learner_state.for_learner(learner)
        block.save()
        self._stores[store.user_id], self._fields[store.user_id] = store, LearnerFieldData(self._authored, store)
        _bind(block, store.user_id)
        if isinstance(block, XBlock):  # An aside has no children.
            block.clear_child_cache()

    def get_block(self, usage_id: UsageKey, for_parent: XBlock | None = None) -> XBlock:
        block = super().get_block(usage_id, for_parent=for_parent)
        if for_parent is not None:
            _bind(block, for_parent.scope_ids.user_id)
        return block

    def get_aside_of_type(self, block: XBlock, aside_type: str) -> XBlockAside:
        aside = super().get_aside_of_type(block, aside_type)
        _bind(aside, block.scope_ids.user_id)
        return aside

    def publish(self, block: XBlock, event_type: str, event_data: Any) -> None:
        """Store the score of a ``grade`` event. Override it to use other events, and call this method."""
        store = self._stores.get(block.scope_ids.user_id, self.learner_state)
        store.publish(block, event_type, event_data)

    def handle(self, block: XBlock, handler_name: str, request: Request, suffix: str = "") -> Response:
        # The store refuses grades of handlers that pass on events of the browser.
        with self.learner_state.handling(handler_name):
            return super().handle(block, handler_name, request, suffix)

    def run_handler(self, usage_id: UsageKey, handler_name: str, request: Request, suffix: str = "") -> Response:
        """Call a handler of a block or aside in a guarded unit of work.

        Give it to `run_guarded`, with a new runtime for each attempt. Raises `Conflict`, and what `get_block_or_aside`,
        the handler, and the commit raise.
        """
        with self.learner_state.unit_of_work(guarded=True):
            return self.handle(self.get_block_or_aside(usage_id), handler_name, request, suffix)

    def render_page(
        self, usage_ids: Iterable[UsageKey], view_name: str = "student_view", context: Any = None
    ) -> Fragment:
        """Render blocks one below the other, in one guarded unit of work, and return all of it as one fragment.

        The state of the blocks, their descendants and their asides is read before, by one statement. Give it to
        `run_guarded`, with a new runtime for each attempt: blocks save during a view too, such as a problem its seed.
        """
        page = Fragment()
        blocks = [self.get_block(usage_id) for usage_id in usage_ids]
        self.learner_state.prefetch(each for block in blocks for each in _with_descendants(block))
        # Two tabs that choose a seed at the same moment must show the same one.
        with self.learner_state.unit_of_work(guarded=True):
            for block in blocks:
                fragment = block.render(view_name, context)
                page.add_content(fragment.content)
                page.add_fragment_resources(fragment)
        return page


def _gather(cls: type[XBlock]) -> None:
    """Let one thread gather the fields, services and tags of a class.

    XBlock gathers them at their first use, and gives ``None`` to threads that ask meanwhile.
    """
    if cls in _GATHERED:
        return
    with _GATHERING:
        for name in ("fields", "_combined_services", "_class_tags", "_combined_asides"):
            getattr(cls, name, None)
        _GATHERED.add(cls)


def _bind(block: XBlock, user_id: Any) -> None:
    """Let a block read and write the fields of another learner."""
    if block.scope_ids.user_id == user_id:
        return
    block.scope_ids = block.scope_ids._replace(user_id=user_id)
    # XBlock has no public way to forget the values that a block has read, and their baselines. Some read a field when
    # they are made.
    block._field_data_cache.clear()  # noqa: SLF001
    block._dirty_fields.clear()  # noqa: SLF001


def _script_json(value: Any) -> str:
    """Return JSON that can stand in a ``script`` element."""
    return json.dumps(value).translate(_SCRIPT_ESCAPES)


def _with_descendants(block: XBlock) -> Iterator[XBlock]:
    yield block
    for child in block.get_children():
        yield from _with_descendants(child)
