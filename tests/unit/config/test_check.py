from __future__ import annotations

from pathlib import Path

import pytest

from nexus_proxy.config.check import check
from nexus_proxy.errors import ConfigError
from tests.unit.config.conftest import Checker

BACKEND = '[[backends]]\nname = "gpu"\nurl = "http://gpu:8000"\n'
PRICE = "[[prices]]\nmodel = 'm'\ninput_usd_per_million = {}"

# (text, line, key, a part of the problem, a part of the hint)
Mistake = tuple[str, int | None, str | None, str, str | None]
MISTAKES: list[Mistake] = [
    # unknown keys, with the nearest one
    ("[server]\nprot = 1", 2, "server.prot", "unknown key", "did you mean port?"),
    ("[sever]\nport = 1", 1, "sever", "unknown key", "did you mean server?"),
    ("port = 1", 1, "port", "unknown key", "did you mean server.port?"),
    ("[routing]\nzzz = 1", 2, "routing.zzz", "unknown key", "known here: strategy,"),
    ("routing.weights.laod = 1", 1, "routing.weights.laod", "unknown key", "did you mean load?"),
    (BACKEND + "prioritiy = 1", 4, "backends.gpu.prioritiy", "unknown key", "mean priority?"),
    (BACKEND + "PRIORITY = 1", 4, "backends.gpu.PRIORITY", "unknown key", "mean priority?"),
    (BACKEND + "[backends.x]\ny = 1", 4, "backends.gpu.x", "unknown key", None),
    (
        "[[routing.policies]]\nmodel_pattern = 'x'\nmin_teir = 1",
        3,
        "routing.policies[0].min_teir",
        "unknown key",
        "min_tier",
    ),
    ('x."a\\u001b[2J" = 1', 1, "x", "unknown key", None),
    # missing keys
    ('[[backends]]\nname = "a"', 1, "backends.a.url", "is missing", None),
    (BACKEND + '[[backends]]\nurl = "http://x"', 4, "backends[1].name", "is missing", None),
    ("[routing]\npolicies = [{}]", 2, "routing.policies[0].model_pattern", "is missing", None),
    # types
    ('[server]\nport = "80"', 2, "server.port", "a whole number from 0 to 65535", "without quotes"),
    ('[server]\nport = "x"', 2, "server.port", "but is text", None),
    ("[server]\nport = 80.0", 2, "server.port", "but is 80.0", None),
    ("[server]\nport = true", 2, "server.port", "but is true", None),
    ("[server]\nport = 1979-05-27", 2, "server.port", "but is a date or time", None),
    ("[server]\nhost = 07:32:00", 2, "server.host", "must be text, but is a date or time", None),
    ("[server]\nhost = 1", 2, "server.host", "must be text, but is 1", None),
    ("[discovery]\nenabled = 1", 2, "discovery.enabled", "true or false, but is 1", None),
    ('[discovery]\nenabled = "true"', 2, "discovery.enabled", "but is text", "without quotes"),
    ("[timeouts]\nidle_seconds = true", 2, "timeouts.idle_seconds", "a number above 0", None),
    ("server = 1", 1, "server", "must be a table, but is 1", None),
    ("[[server]]", 1, "server", "must be a table, but is a list", None),
    ("[backends]\nname = 1", 1, "backends", "a list of tables, but is a table", "[[…]]"),
    ("backends = [1]", 1, "backends[0]", "must be a table, but is 1", None),
    ("[routing]\naliases = []", 2, "routing.aliases", "must be a table", None),
    ("[routing.aliases]\na = 1", 2, "routing.aliases.a", "must be text", None),
    ("[routing.fallbacks]\na = 'b'", 2, "routing.fallbacks.a", "a list of texts", None),
    ("[routing.fallbacks]\na = [\n'b',\n2]", 4, "routing.fallbacks.a[1]", "must be text", None),
    (BACKEND + "tags = [['x']]", 4, "backends.gpu.tags[0]", "must be text, but is a list", None),
    # bounds
    ("[server]\nport = 65536", 2, "server.port", "but is 65536", None),
    ("[server]\nport = -1", 2, "server.port", "but is -1", None),
    (
        "[quality]\nerror_rate_threshold = 2",
        2,
        "quality.error_rate_threshold",
        "a number above 0, at most 1, but is 2",
        None,
    ),
    ("[server]\nmax_body_mb = inf", 2, "server.max_body_mb", "above 0, but is inf", None),
    ("[server]\nmax_body_mb = -inf", 2, "server.max_body_mb", "but is -inf", None),
    ("[server]\nmax_body_mb = nan", 2, "server.max_body_mb", "but is nan", None),
    ("[server]\nmax_body_mb = 0", 2, "server.max_body_mb", "but is 0", None),
    ("[server]\nmax_body_mb = 1e999", 2, "server.max_body_mb", "but is inf", None),
    (f"[timeouts]\nidle_seconds = 1{'0' * 400}", 2, "timeouts.idle_seconds", "64 bits", None),
    (BACKEND + f"priority = 1{'0' * 30}", 4, "backends.gpu.priority", "64 bits", None),
    (BACKEND + "tier = 6", 4, "backends.gpu.tier", "from 1 to 5, but is 6", None),
    (BACKEND + "max_concurrent = 0", 4, "backends.gpu.max_concurrent", "of 1 or more", None),
    ("[[backends]]\nname = ''\nurl = 'http://x'", 2, "backends[0].name", "not empty", None),
    # one of a few words
    ("[routing]\nstrategy = 'smrt'", 2, "routing.strategy", 'is "smrt"', 'did you mean "smart"?'),
    ("[routing]\nstrategy = 'Smart'", 2, "routing.strategy", 'is "Smart"', '"smart"'),
    ("[discovery]\ntrust_mdns = true", 2, "discovery.trust_mdns", "one of ask, always", None),
    (
        "[logging.component_levels]\nrelay = 'dbug'",
        2,
        "logging.component_levels.relay",
        "dbug",
        '"debug"',
    ),
    (BACKEND + "type = 'olama'", 4, "backends.gpu.type", 'is "olama"', '"ollama"'),
    (BACKEND + "zone = 'restrited'", 4, "backends.gpu.zone", "unknown zone", '"restricted"'),
    (BACKEND + "zone = ''", 4, "backends.gpu.zone", "unknown zone", None),
    # globs
    (BACKEND + "models = ['a', 'b[']", 4, "backends.gpu.models[1]", "bad pattern", "[[]"),
    (BACKEND + "models = ['[z-a]']", 4, "backends.gpu.models[0]", "bad pattern", None),
    (BACKEND + "models = ['']", 4, "backends.gpu.models[0]", "is empty", None),
    (
        "[[routing.policies]]\nmodel_pattern='[!'",
        2,
        "routing.policies[0].model_pattern",
        "bad",
        None,
    ),
    ("[routing.aliases]\n'x[' = 'y'", 2, 'routing.aliases."x["', "bad pattern", None),
    ("[server]\nallowed_origins = ['[']", 2, "server.allowed_origins[0]", "bad pattern", None),
    # aliases, fallbacks, pins
    ("[routing.aliases]\na = 'b'\nb = 'a'", 2, "routing.aliases.a", "circle: a -> b -> a", None),
    ("[routing.aliases]\na = 'a'", 2, "routing.aliases.a", "circle: a -> a", None),
    ("[routing.aliases]\n'a*' = 'b1'\n'b*' = 'a1'", 2, 'routing.aliases."a*"', "circle", None),
    (
        "[routing.aliases]\na = 'b'\nb = 'c'\nc = 'd'\nd = 'e'",
        2,
        "routing.aliases.a",
        "more than 3 hops: a -> b -> c -> d -> e",
        'write "a" = "e"',
    ),
    ("[routing.aliases]\na = 'b*'", 2, "routing.aliases.a", "is a pattern", "exact names"),
    ("[routing.aliases]\na = ''", 2, "routing.aliases.a", "is empty", None),
    ("[routing.fallbacks]\n'a*' = ['b']", 2, 'routing.fallbacks."a*"', "is a pattern", None),
    ("[routing.fallbacks]\na = ['a']", 2, "routing.fallbacks.a[0]", "its own fallback", None),
    ("[routing.pins]\n'a*' = 'b'", 2, 'routing.pins."a*"', "is a pattern", None),
    (
        f"discovery.enabled = false\nrouting.pins.m = 'gup'\n{BACKEND}",
        2,
        "routing.pins.m",
        "no backend is called 'gup', and discovery is off",
        'did you mean "gpu"?',
    ),
    # prices
    (PRICE.format("-0.01"), 3, "prices[0].input_usd_per_million", "0 to 10000, but is -0.01", None),
    (PRICE.format("nan"), 3, "prices[0].input_usd_per_million", "but is nan", None),
    (PRICE.format("inf"), 3, "prices[0].input_usd_per_million", "but is inf", None),
    (PRICE.format("10000.01"), 3, "prices[0].input_usd_per_million", "but is 10000.01", None),
    (PRICE.format('"2.5"'), 3, "prices[0].input_usd_per_million", "but is text", "without quotes"),
    (
        PRICE.format("1\noutputs_usd_per_million = 1"),
        4,
        "prices[0].outputs_usd_per_million",
        "unknown key",
        "did you mean output_usd_per_million?",
    ),
    ("[[prices]]\nmodel = 'm'", 1, "prices[0]", "sets no price", "input_usd_per_million"),
    ("[[prices]]\nmodel = 'm['\noutput_usd_per_million = 1", 2, "prices[0].model", "bad", None),
    ("[[prices]]\noutput_usd_per_million = 1", 1, "prices[0].model", "is missing", None),
    (
        f"discovery.enabled = false\n{PRICE.format(1)}\nbackend = 'gup'\n{BACKEND}",
        5,
        "prices[0].backend",
        "no backend is called 'gup', and discovery is off",
        'did you mean "gpu"?',
    ),
    # backends
    (BACKEND + BACKEND, 5, "backends[1].name", "called 'gpu' already", "in line 2"),
    (
        "[[backends]]\nname = 'a\\n'\nurl = 'http://x'".replace("'", '"'),
        2,
        'backends."a\\n".name',
        "control",
        None,
    ),
    (
        BACKEND + "api_key_env = 'sk-abc'",
        4,
        "backends.gpu.api_key_env",
        "not the name",
        "not the key",
    ),
    ("[server]\nmanagement_key_env = ''", 2, "server.management_key_env", "not the name", None),
    (
        "[discovery]\nservice_types = ['_a._tcp']",
        2,
        "discovery.service_types[0]",
        "mDNS",
        "_ollama",
    ),
    # the address to listen on
    ("[server]\nhost = '0.0.0.0'", 2, "server.host", "no API keys yet", "allow_unauthenticated"),
    ("[server]\nhost = 'box.lan'", 2, "server.host", "other machines", "127.0.0.1"),
    ("[server]\nhost = '::'", 2, "server.host", "other machines", None),
    ("[server]\nhost = '127.0.0.1:80'", 2, "server.host", "not an address", "server.port"),
    ("[server]\nhost = ''", 2, "server.host", "not an address", None),
    # not TOML
    ("[server]\nport = = 1", 2, None, "not valid TOML", None),
    ("[server\nport = 1", 1, None, "not valid TOML", None),
    ("a = 1\na = 2", 2, None, "not valid TOML: Cannot overwrite a value", None),
    ("x = 'a\n\n", 1, None, "not valid TOML", None),
    ("\n\nx = ", 3, None, "not valid TOML", None),
    ('[server]\nhost = """abc', 2, None, "at the end", None),
    (f"x = 1{'0' * 5000}", None, None, "a number that is too long", None),
    (f"x = {'[' * 5000}{']' * 5000}", None, None, "nested too deeply", None),
]

MONEY = {
    "routing.budget.monthly_limit_usd": ("a number from 0 to", ["nan", "inf", "-1", "1e300"]),
    "routing.budget.soft_limit_percent": ("a number from 0 to 100", ["nan", "-1", "100.5"]),
    "routing.budget.hard_limit_action": ("one of warn, block_cloud", ["'explode'"]),
    "routing.budget.time_zone": ("not a time zone", ["''", "'Mars/Phobos'", "'../../etc/passwd'"]),
    "state.url": ("must start with redis://", ["''", "'http://h'", "'localhost:6379'"]),
    "state.password_env": ("not the name of an environment variable", ["''", "'hunter 2'"]),
    "state.path": ("is empty", ["''", "' '", "'\\u0000'", "'x\\n'"]),
}


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [(key, text, problem) for key, (problem, texts) in MONEY.items() for text in texts],
)
def test_absurd_money_and_places_are_refused(
    checked: Checker, key: str, text: str, problem: str
) -> None:
    (error,) = checked(f"{key} = {text}".replace("'", '"'))
    assert (error.line, error.key) == (1, key)
    assert problem in error.problem


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://:hunter2@h/0", "holds a password"),
        ("redis://", "names no host"),
        ("redis://h:0", "names no host"),
        ("redis://h/a", "more than an address"),
        ("redis://h/0?db=1", "more than an address"),
        ("rediss://h:99999", "not a URL"),
    ],
)
def test_the_shared_state_is_an_address_without_a_password(
    checked: Checker, url: str, problem: str
) -> None:
    (error,) = checked(f'state.url = "{url}"')
    assert problem in error.problem
    assert "hunter2" not in str(error)


def test_what_one_request_may_cost_is_a_sum_of_money(checked: Checker) -> None:
    for absurd in ("-0.01", "nan", "inf", "1e9", "'much'"):
        text = f"[[routing.policies]]\nmodel_pattern = 'x'\nmax_cost_per_request = {absurd}"
        (error,) = checked(text)
        assert error.key == "routing.policies[0].max_cost_per_request"
        assert "must be a number from 0 to" in error.problem


@pytest.mark.parametrize(
    ("path", "problem"), [("/var/lib/nexus/", "is a folder"), ("~root/n.db", "starts with ~")]
)
def test_a_state_file_is_a_file(checked: Checker, path: str, problem: str) -> None:
    (error,) = checked(f"[state]\npath = '{path}'")
    assert (error.line, error.key) == (2, "state.path")
    assert problem in error.problem
    assert checked("[state]\npath = '~/nexus.db'") == []


URLS = {
    "localhost:11434": "http:// or https://",
    "gpu": "http:// or https://",
    "ftp://gpu": "http:// or https://",
    "http://": "no host",
    "http:///v1": "no host",
    "http://gpu:0": "no host",
    "http://gpu:99999": "not a URL",
    "http://gpu:x": "not a URL",
    "http://[::1": "not a URL",
    "http://g pu": "not a URL",
    "http://gpu/\u202e": "not a URL",
    "http://me:hunter2@gpu": "user name or password",
    "http://hunter2@gpu": "user name or password",
    "http://gpu/#hunter2": "? or # part",
    "http://gpu/?key=hunter2": "? or # part",
}


@pytest.mark.parametrize(("text", "line", "key", "problem", "hint"), MISTAKES)
def test_each_mistake_is_named_with_its_place_and_cure(
    checked: Checker,
    tmp_path: Path,
    text: str,
    line: int | None,
    key: str | None,
    problem: str,
    hint: str | None,
) -> None:
    error = checked(text)[0]
    assert (error.file, error.line, error.key) == (str(tmp_path / "nexus.toml"), line, key)
    assert problem in error.problem
    assert (hint or "") in (error.hint or "")
    assert str(error).isprintable()


@pytest.mark.parametrize(("url", "problem"), URLS.items())
def test_a_bad_url_is_refused_and_not_repeated(checked: Checker, url: str, problem: str) -> None:
    (error,) = checked(f'[[backends]]\nname = "gpu"\nurl = "{url}"')
    assert (error.line, error.key) == (3, "backends.gpu.url")
    assert problem in error.problem
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("key", ["sk-proj-abc", "hf_abcDEFghiJKLmnoPQR42", "two words", ""])
def test_a_key_in_the_place_of_a_variable_is_refused_and_not_repeated(
    checked: Checker, key: str
) -> None:
    (error,) = checked(f"{BACKEND}api_key_env = '{key}'")
    assert (error.line, error.key) == (4, "backends.gpu.api_key_env")
    assert "write the variable's name, not the key" in str(error)
    assert not key or key not in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        "\ufeff[server]\nport = 1",
        "[server]\nport = 0\nmax_body_mb = 1",
        "[server]\nhost = '::1'",
        "[server]\nhost = 'LOCALHOST'",
        "[server]\nhost = '127.8.9.10'",
        "[server]\nhost = '0.0.0.0'\nallow_unauthenticated = true",
        "[timeouts]\nidle_seconds = 1\ntotal_seconds = 2.5",
        BACKEND + "zone = 'Restricted'\nmodels = ['*', '[a-z]*', '[]x]', '[[]', '[!a]']",
        "[[backends]]\nname = 'a b é'\nurl = 'https://[::1]:8/v1/'",
        "[routing.aliases]\na = 'b'\nb = 'c'\nc = 'd'",
        "[routing.aliases]\n'claude-*' = 'claude-3'",
        "[routing.aliases]\n'claude-*' = 'q'\n'q*' = 'x'\n'claude-1' = 'claude-2'",
        "[routing.pins]\nm = 'found later'",
        "[routing.fallbacks]\na = ['b', 'hf.co/x/y:Q4']",
        f"discovery.enabled = false\nrouting.pins.m = 'gpu'\n{BACKEND}",
        "[discovery]\nservice_types = ['_x._udp.local', '_ollama._tcp.local.']",
    ],
)
def test_what_is_right_is_not_refused(checked: Checker, text: str) -> None:
    assert checked(text) == []


def test_all_problems_are_reported_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "nexus.toml"
    path.write_text(
        "[server]\nhost = '0.0.0.0'\nport = 'x'\n"
        "[routing]\nstrategy = 'x'\naliases = { a = 'b', b = 'a' }\n"
        "[[backends]]\nname = 'a'\nurl = 'x'\n[nope]\n"
    )
    errors = check(path, {"NEXUS_DISCOVERY": "perhaps"})
    assert [(e.line, e.key) for e in errors] == [
        (2, "server.host"),
        (3, "server.port"),
        (5, "routing.strategy"),
        (6, "routing.aliases.a"),
        (9, "backends.a.url"),
        (10, "nope"),
        (None, "discovery.enabled"),
    ]
    assert errors[-1].file == "NEXUS_DISCOVERY"


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nexus.toml"
    path.write_bytes(b"[server]\nhost = '\xff'")
    assert str(check(path, {})[0]) == f"{path}:2: is not UTF-8 text"
    path.write_bytes(b"#" * (4 << 20) + b"#")
    assert "is it a configuration file?" in str(check(path, {})[0])
    assert "is a directory" in str(check(tmp_path, {})[0])
    assert "there is no such file" in str(check(tmp_path / "absent", {})[0])


def test_an_error_reads_as_a_line_for_people() -> None:
    error = ConfigError("unknown key", file="n.toml", line=3, key="a.b", hint="x?", others=2)
    assert str(error) == (
        "n.toml:3: a.b: unknown key (x?); and 2 more problems: `nexus config check` lists all"
    )
