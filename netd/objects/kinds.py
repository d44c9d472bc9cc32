"""The kinds of objects: their words, order of dependence, keys and forms, in one table; and documents of any kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import model
from ..errors import Invalid
from ..model import Floating, Network, Policy, Reservation, Router, Tenant
from . import forms, policies
from .shape import Shape, Wrong, refusal

Object = Tenant | Network | Reservation | Router | Policy | Floating


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectKind:
    """One kind: its `word` in documents and messages, where its records are, its form and the encoder of that."""

    word: str
    type: type[Object]
    prefix: str
    form: Shape[Any]
    encode: Callable[[Any], dict[str, Any]]


# in the order of dependence: each may need those before it
KINDS: Mapping[str, ObjectKind] = {
    word: ObjectKind(word=word, type=type_, prefix=prefix, form=form, encode=encode)
    for word, type_, prefix, form, encode in (
        ("tenant", Tenant, model.TENANTS, forms.TENANT_FORM, forms.encode_tenant),
        ("network", Network, model.NETWORKS, forms.NETWORK_FORM, forms.encode_network_form),
        ("port", Reservation, model.RESERVED, forms.RESERVATION_FORM, forms.encode_reservation),
        ("router", Router, model.ROUTERS, forms.ROUTER_FORM, forms.encode_router),
        ("policy", Policy, model.POLICIES, policies.POLICY_FORM, policies.encode_policy),
        ("floating", Floating, model.FLOATING, forms.FLOATING_FORM, forms.encode_floating),
    )
}
RANKS = {word: rank for rank, word in enumerate(KINDS)}
_WORDS = {kind.type: kind for kind in KINDS.values()}


def kind_of(thing: Object) -> ObjectKind:
    """The kind of an object."""
    return _WORDS[type(thing)]


def key_of(thing: Object) -> str:
    """Its key among its kind: `tenant/name`, a tenant's name, a floating address."""
    return thing.name if isinstance(thing, Tenant) else thing.key


def named(thing: Object) -> str:
    """`kind:key`, its name among all objects."""
    return f"{kind_of(thing).word}:{key_of(thing)}"


def spoken(name: str) -> str:
    """A name of `named` in words."""
    return name.replace(":", " ", 1)


def read_document(plain: object) -> Object:
    """An object from its document: the form with its `kind`. Wrong, with every problem."""
    if not isinstance(plain, Mapping):
        raise refusal("it", plain, "give a mapping with kind and name")
    word = plain.get("kind")
    if word is None:
        raise Wrong(f"kind: is missing; give {', '.join(KINDS)}")
    if not isinstance(word, str) or word not in KINDS:
        raise refusal("kind", word, f"give {', '.join(KINDS)}")
    thing: Object = KINDS[word].form.read({name: value for name, value in plain.items() if name != "kind"}, "")
    return thing


def parse_document(plain: object) -> Object:
    """As `read_document`. Invalid."""
    try:
        return read_document(plain)
    except Wrong as error:
        raise Invalid(f"document: {error}") from None


def encode_document(thing: Object) -> dict[str, Any]:
    """The document that `parse_document` reads back."""
    kind = kind_of(thing)
    return {"kind": kind.word, **kind.encode(thing)}
