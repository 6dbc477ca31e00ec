"""What `make setup` installs is all that the extra [dev] needs: no test is skipped for want of a package."""

from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

# Type stubs, whose libraries need a GPU.
UNINSTALLED = {"tensorrt", "tensorrt-cu12-bindings"}


def needs(requirement):
    """The requirements of an installed package, as far as they apply here."""
    for text in distribution(requirement.name).requires or ():
        found = Requirement(text)
        extras = requirement.extras or {""}
        if found.marker is None or any(found.marker.evaluate({"extra": extra}) for extra in extras):
            yield found


def faults(requirement):
    """{requirement that is not met: what is there} below one that is."""
    found, seen, waiting = {}, set(), [requirement]
    while waiting:
        one = waiting.pop()
        if one.name in UNINSTALLED or (one.name, frozenset(one.extras)) in seen:
            continue
        seen.add((one.name, frozenset(one.extras)))
        try:
            version = distribution(one.name).version
        except PackageNotFoundError:
            found[str(one)] = "nothing"
            continue
        if not one.specifier.contains(version, prereleases=True):
            found[str(one)] = version
        waiting += needs(one)
    return found


def test_the_pins_meet_all_requirements_of_the_extra_dev():
    assert faults(Requirement("msdk_rt[dev]")) == {}


def test_a_package_that_is_missing_is_found(monkeypatch):
    real = distribution

    def without_starlette(name):
        if name == "starlette":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr("tests.test_pins.distribution", without_starlette)
    (missing,) = faults(Requirement("msdk_rt[dev]"))
    assert missing.startswith("starlette")
