"""Assigns bundles to the roles of a pipeline: by the role that the user names, else by the bundle's net."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.pipelines.declaration import Declaration, Role
from edge_runtime.store.bundle import MANIFEST, Bundle, open_bundle

AnyBundle = str | os.PathLike[str] | Bundle
GivenBundles = Mapping[str, AnyBundle] | Sequence[AnyBundle | tuple[str, AnyBundle]]
"""Role → bundle; or bundles in any order, those with a role as pairs of it and the bundle.

A folder that holds bundles named for the roles, as image_unet/ and vocoder/, stands for all of them; a folder
of a net's halves, as first/ and second/, for both.
"""


def parse_bundles(declared: Declaration, texts: Iterable[str]) -> list[AnyBundle | tuple[str, AnyBundle]]:
    """The values of ``--bundle``, each ``DIR`` or ``ROLE=DIR``.

    A text that begins with a role of the pipeline and an equals sign names that role, also where a path of
    Windows follows (``vocoder=C:\\bundles\\v1``); to open a folder of such a name, write ``./`` before it.

    Raises:
        ConfigError: a text with an equals sign that names neither a role of the pipeline nor a folder; an
            empty path.
    """
    roles = {role.name for role in declared.roles}
    parsed: list[AnyBundle | tuple[str, AnyBundle]] = []
    for text in texts:
        role, equals, path = text.partition("=")
        if not (path if equals and role in roles else text):
            raise ConfigError("--bundle", got=repr(text), expected=_roles_text(declared))
        is_path = any(letter in role for letter in "/\\:.")  # of Windows too
        if not equals or (role not in roles and (is_path or Path(text).exists())):
            parsed.append(text)
        elif role in roles:
            parsed.append((role, path))
        else:
            raise ConfigError("--bundle", got=text, expected=_roles_text(declared))
    return parsed


def sort_bundles(declared: Declaration, given: GivenBundles) -> dict[str, Bundle]:
    """Role → the bundle for it.

    Raises:
        ConfigError: too many, too few, two for one role, an unknown role; a bundle without a role whose net
            fits several roles.
        BundleError: a bundle that is damaged, or of a net that does not fit its role or the pipeline.
    """
    wanted = _wanted(declared)
    pairs = [*_pairs(declared, [*given.items()] if isinstance(given, Mapping) else given)]
    if len(pairs) > len(declared.roles):
        raise ConfigError(f"bundles of {declared.name}", got=f"{len(pairs)}", expected=wanted)
    found: dict[str, Bundle] = {}
    for name, place in pairs:
        bundle = place if isinstance(place, Bundle) else open_bundle(place)
        role = _by_manifest(declared, bundle) if name is None else _by_name(declared, name, bundle)
        if role.name in found:
            got = f"two of the net {bundle.manifest.net}" if name is None else f"two for {name}"
            raise ConfigError(f"bundles of {declared.name}", got=got, expected=wanted)
        found[role.name] = bundle
    for role in declared.roles:
        if role.required and role.name not in found:
            raise _missing(declared, role, wanted)
    return found


def _missing(declared: Declaration, role: Role, wanted: str) -> ConfigError:
    by_net = _is_told_by_net(declared, role)
    together = f"; {declared.made_by} writes all, and --bundle FOLDER names them" if declared.made_by else ""
    return ConfigError(
        f"bundles of {declared.name}",
        got=f"none of {_nets(role)}" if by_net else f"none for {role.name}",
        expected=wanted,
        cause=f"--bundle {'' if by_net else f'{role.name}='}DIR names it{together}",
    )


def _pairs(
    declared: Declaration, given: Sequence[AnyBundle | tuple[str, AnyBundle]]
) -> Iterator[tuple[str | None, AnyBundle]]:
    """(role, bundle) of each; those in a folder that holds bundles named for roles, or halves, one by one."""
    for each in given:
        if isinstance(each, tuple):
            yield from _halves(declared, *each) or [each]
        elif isinstance(each, Bundle):
            yield None, each
        elif inside := _inside(declared, Path(each)):
            yield from inside
        else:
            yield None, each


def _inside(declared: Declaration, folder: Path) -> list[tuple[str, AnyBundle]]:
    """(role, folder) of the bundles in a folder that is none itself; others in it are not looked at.

    Raises:
        BundleError: a folder that is neither, of a pipeline that takes many bundles.
        ConfigError: halves without a role.
    """
    if (folder / MANIFEST).exists() or not folder.is_dir():
        return []
    found: list[tuple[str, AnyBundle]] = []
    for role in declared.roles:
        place = folder / role.name
        found += [(role.name, place)] if (place / MANIFEST).exists() else _halves(declared, role.name, place)
    if not found and len(declared.roles) > 2:
        if takers := [role for role in declared.roles if _halves(declared, role.name, folder)]:
            raise _without_a_role(declared, takers, str(folder), "halves of a net")
        names = ", ".join(role.name for role in declared.roles)
        raise BundleError(
            str(folder),
            got="a folder without a bundle",
            expected=f"a bundle, or bundles in folders named for their roles: {names}",
            cause=f"{declared.made_by} writes them" if declared.made_by else "edge-export export writes one",
        )
    return found


def _halves(declared: Declaration, name: str, place: AnyBundle) -> list[tuple[str, AnyBundle]]:
    """(role, folder) of the halves in a folder that a role was given; none where it holds other things."""
    role = next((role for role in declared.roles if role.name == name), None)
    if role is None or isinstance(place, Bundle) or (Path(place) / MANIFEST).exists():
        return []
    found: list[tuple[str, AnyBundle]] = [
        (half, Path(place) / folder)
        for folder, half in role.halves
        if (Path(place) / folder / MANIFEST).exists()
    ]
    return found


def _by_manifest(declared: Declaration, bundle: Bundle) -> Role:
    """The only role that takes the net."""
    net = bundle.manifest.net
    takers = [role for role in declared.roles if net in role.nets]
    if not takers:
        nets = [net for role in declared.roles for net in role.nets]
        raise BundleError(
            f"{bundle.path}: net",
            got=net,
            expected=" or ".join(dict.fromkeys(nets)),
            cause="is it the right bundle?",
        )
    if len(takers) > 1:
        raise _without_a_role(declared, takers, str(bundle.path), f"bundles of the net {net}")
    return takers[0]


def _without_a_role(declared: Declaration, takers: Sequence[Role], place: str, what: str) -> ConfigError:
    return ConfigError(
        "--bundle",
        got=f"{place} without a role",
        expected=" or ".join(f"{role.name}={place}" for role in takers),
        cause=f"{declared.name} takes several {what}",
    )


def _by_name(declared: Declaration, name: str, bundle: Bundle) -> Role:
    """The role of that name, if it takes the net."""
    role = next((role for role in declared.roles if role.name == name), None)
    if role is None:
        raise ConfigError("--bundle", got=f"{name}={bundle.path}", expected=_roles_text(declared))
    if bundle.manifest.net not in role.nets:
        raise BundleError(
            f"{bundle.path}: net",
            got=bundle.manifest.net,
            expected=f"{_nets(role)} for {name}",
            cause="is it the right bundle?",
        )
    return role


def _is_told_by_net(declared: Declaration, role: Role) -> bool:
    """Whether a bundle for the role needs no ``ROLE=``, because its net fits no other role."""
    others = {net for other in declared.roles if other != role for net in other.nets}
    return not others & set(role.nets)


def _wanted(declared: Declaration) -> str:
    if len(declared.roles) == 1:
        return "exactly one"
    told = {
        role: _nets(role) if _is_told_by_net(declared, role) else f"{role.name}={_nets(role)}"
        for role in declared.roles
    }
    needed = [text for role, text in told.items() if role.required]
    others = [text for role, text in told.items() if not role.required]
    if not needed or not others:
        return f"one each of {', '.join(needed or others)}"
    return f"one each of {', '.join(needed)}, and at most one of {', '.join(others)}"


def _nets(role: Role) -> str:
    return " or ".join(role.nets)


def _roles_text(declared: Declaration) -> str:
    return "DIR, or " + " or ".join(f"{role.name}=DIR" for role in declared.roles)
