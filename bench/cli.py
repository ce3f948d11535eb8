"""The command line: parse, wire up, print, exit code.

Answers go to stdout, progress and errors to stderr. Everything that costs time to import is
imported by the command that needs it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO, TypeVar

import click

from bench import __version__
from bench.errors import BenchError, ExitCode, StorageError, UsageError
from bench.units import format_duration, parse_duration, parse_rate

if TYPE_CHECKING:
    from anyio.abc import TaskStatus
    from rich.console import Console

    from bench.api import RunOptions, Stop
    from bench.mock.spec import MockSpec
    from bench.model import Fault, Scenario
    from bench.permit import Permission
    from bench.scenario.plan import PlannedCase

T = TypeVar("T")
_FOLDER = click.Path(file_okay=False, path_type=Path)


def main() -> NoReturn:
    """Run the command line and exit with a documented code."""
    _keep_private()
    try:
        code = commands.main(standalone_mode=False, prog_name="sendbench")
        sys.exit(code if isinstance(code, int) else ExitCode.PASS)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        sys.exit(ExitCode.SIGINT)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except BaseExceptionGroup as group:
        _fail(_ours(group))
    except BenchError as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.exit(ExitCode.SIGINT)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(128 + signal.SIGPIPE)


def _keep_private() -> None:
    """What this process and those it starts write is for its user alone, and no core dump holds secrets."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _ours(group: BaseExceptionGroup[BaseException]) -> BenchError:
    """The one error of ours in a group; anything else in it is a bug and is raised."""
    ours, others = group.split(BenchError)
    if ours is None or others is not None:
        raise group
    error: BaseException = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, BenchError)
    return error


def _fail(error: BenchError) -> NoReturn:
    text = " ".join(str(error).splitlines())
    click.echo(f"sendbench: {text}", err=True)
    sys.exit(error.exit_code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sendbench")
def commands() -> None:
    """Measure what sending an email costs: SMTP unpooled, SMTP pooled, HTTP API.

    Start with `sendbench run smtp-vs-api`: it needs no account and sends nothing off this machine.

    \b
    Exit codes: 0 pass, 1 threshold failed, 2 usage or scenario error, 3 run invalid,
    4 inconclusive, 5 refused by a safety rule, 130/143 interrupted.
    """


# ----------------------------------------------------------------- scenario options


def _scenario_options(function: Callable[..., object]) -> Callable[..., object]:
    """SCENARIO with --set and --profile: one meaning for every command that reads a scenario."""
    function = click.option("--profile", metavar="NAME", help="Apply this profile of the scenario.")(function)
    function = click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key, e.g. network.rtt=20ms."
    )(function)
    return click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...")(function)


def _json_option(function: Callable[..., T]) -> Callable[..., T]:
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(function)


def _inconclusive_option(function: Callable[..., int]) -> Callable[..., int]:
    """`--inconclusive` for a command that ends with a verdict."""

    @click.option(
        "--inconclusive", type=click.Choice(["fail", "pass"]),
        help="What a verdict that cannot be told ends with: 1 or 0, in place of 4.",
    )  # fmt: skip
    @wraps(function)
    def settled(*arguments: object, inconclusive: str | None, **options: object) -> int:
        code = function(*arguments, **options)
        if inconclusive is None or code != ExitCode.INCONCLUSIVE:
            return code
        return ExitCode.PASS if inconclusive == "pass" else ExitCode.THRESHOLD_FAILED

    return settled


def _load(text: str, overrides: Sequence[str], profile: str | None) -> Scenario:
    from bench.providers import check_message
    from bench.scenario import find_scenario, load_scenario

    scenario = load_scenario(find_scenario(text), overrides=overrides, profile=profile, check=check_message)
    if any(each.abort for each in scenario.thresholds):
        from bench.analysis.aborts import check_aborts

        check_aborts(scenario)
    return scenario


@contextmanager
def _masked(scenarios: Sequence[Scenario]) -> Iterator[None]:
    """Masks the secrets of these scenarios in everything that is printed meanwhile; should that end with an
    error, then for good, as the error is still to be printed."""
    from bench.providers.addresses import secrets_in
    from bench.redact import MaskedStream, Redactor

    redactor = Redactor(each for scenario in scenarios for each in secrets_in(scenario))
    stdout, stderr = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = MaskedStream(stdout, redactor), MaskedStream(stderr, redactor)
    yield
    sys.stdout, sys.stderr = stdout, stderr


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, soft_wrap=False)


# ----------------------------------------------------------------------------- run


def _run_options(function: Callable[..., int]) -> Callable[..., int]:
    """How a scenario is run, as `options`, for the commands that run one."""

    @click.option("--results", type=_FOLDER, default=Path("results"), help="Where run folders are made.")
    @click.option(
        "--seed", type=click.IntRange(0, 2**31 - 1), help="Make messages, arrivals and mock repeat."
    )
    @click.option("--lab", multiple=True, metavar="CIDR", help="A private network that may be sent to.")
    @click.option("--live", is_flag=True, help="Send real mail; `plan` says what else that takes.")
    @click.option("--budget", type=click.IntRange(0), default=0, help="Real deliveries allowed in a day.")
    @click.option("--confirm", default="", envvar="SENDBENCH_CONFIRM", help="The hash that `plan` prints.")
    @wraps(function)
    def with_options(
        *arguments: object,
        results: Path,
        seed: int | None,
        lab: tuple[str, ...],
        live: bool,
        budget: int,
        confirm: str,
        **others: object,
    ) -> int:
        from bench.api import RunOptions
        from bench.guard import Guard

        permission = _permission(live=live, budget=budget, confirm=confirm)
        options = RunOptions(results=results, guard=Guard(lab), permission=permission)
        if seed is not None:
            options.seed = seed
        return function(*arguments, options=options, **others)

    return with_options


@commands.command()
@_scenario_options
@click.option("--resume", type=_FOLDER, metavar="RUN", help="Go on with a run that was cut off.")
@_run_options
@_json_option
@_inconclusive_option
def run(
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    profile: str | None,
    resume: Path | None,
    options: RunOptions,
    as_json: bool,
) -> int:
    """Run scenarios (a file, or the name of a shipped one) and print what they cost."""
    if resume is not None and len(scenarios) > 1:
        raise UsageError("--resume goes on with one run: name its scenario alone")
    options.resume = resume
    return _run_all([_load(text, overrides, profile) for text in scenarios], options, as_json=as_json)


@commands.command()
@_scenario_options
@click.option("--base", metavar="CMD", help="Starts the server to compare with; {port} is a free port.")
@click.option("--head", metavar="CMD", help="Starts the server that is judged.")
@click.option("--limit", "limits", multiple=True, metavar="5%|p95=10%,...", help="How much slower it may be.")
@click.option("--stages", type=click.IntRange(1, 2), help="2: as many messages again if it is inconclusive.")
@click.option("--processes", type=click.IntRange(1), help="How often each CMD is started: 1, or 10 to 100.")
@_run_options
@_json_option
@_inconclusive_option
def gate(
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    profile: str | None,
    base: str | None,
    head: str | None,
    limits: tuple[str, ...],
    stages: int | None,
    processes: int | None,
    options: RunOptions,
    as_json: bool,
) -> int:
    """Say whether the second of two variants may pass: those of a scenario with compare:, or two servers,
    which run side by side while messages go to one or the other at random.

    \b
    sendbench gate sign-up.yaml --base '../main/serve --port {port}' --head './serve --port {port}'

    Ends with 0 (pass), 1 (regression), 4 (inconclusive) or 3 (invalid).
    """
    from bench.gating import gated, pair_of, parse_limits, set_texts

    own = (*overrides, *set_texts(pair_of(base, head, "server")))
    allowed = parse_limits(limits)
    loaded = [gated(_load(text, own, profile), allowed, stages, processes) for text in scenarios]
    return _run_all(loaded, options, as_json=as_json)


def _run_all(scenarios: Sequence[Scenario], options: RunOptions, *, as_json: bool) -> int:
    from bench.api import check_permission
    from bench.providers.addresses import with_credentials

    loaded = [with_credentials(scenario) for scenario in scenarios]
    for scenario in loaded:  # all of them, before anything of the first is sent
        check_permission(scenario, options)
    codes = []
    with _masked(loaded):
        for scenario in loaded:
            folder, interrupted = _run_one(scenario, options)
            codes.append(_report_on(folder, as_json=as_json))
            if interrupted is not None:
                codes.append(interrupted)
                break
    return ExitCode.worst(codes)


def _permission(*, live: bool, budget: int, confirm: str) -> Permission:
    from bench.permit import AllowList, Permission, config_folder

    allowed = config_folder() / "allowed-recipients.txt"
    return Permission(
        live, budget, confirm, AllowList.read(allowed), str(allowed), config_folder() / "no-real-mail"
    )


SECOND_STAGE = "inconclusive so far: the second stage, as many messages again"


def _run_one(scenario: Scenario, options: RunOptions) -> tuple[Path, ExitCode | None]:
    """Run a scenario to its end or to a signal; the run's folder, and the signal's exit code."""
    import anyio

    from bench.api import Stop, run_scenario
    from bench.display import display

    if any(case.labels.get("tls.verify") == "false" for case in scenario.cases):
        click.echo(f"{scenario.name}: INSECURE: certificates are not checked (tls.verify: false)", err=True)

    for sentence in scenario.left_out:
        click.echo(f"{scenario.name}: {sentence}", err=True)
    for sentence in _beyond_limits(scenario):
        click.echo(f"{scenario.name}: beyond a limit: {sentence}", err=True)

    async def with_signals() -> tuple[Path, ExitCode | None]:
        stop, seen = Stop(), list[ExitCode]()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_obey_signals, stop, seen)
            options.on_stage = lambda: click.echo(f"{scenario.name}: {SECOND_STAGE}", err=True)
            with display(scenario) as options.on_cases:
                folder = await run_scenario(scenario, options, stop)
            tasks.cancel_scope.cancel()
        return folder, seen[0] if seen else None

    return anyio.run(with_signals, backend_options={"use_uvloop": _has_uvloop()})


_SIGNALS = {
    signal.SIGINT: ExitCode.SIGINT,
    signal.SIGTERM: ExitCode.SIGTERM,
    signal.SIGHUP: ExitCode.SIGTERM,
}


async def _obey_signals(stop: Stop, seen: list[ExitCode]) -> None:
    """The first signal ends the run in order, a second one cuts off what is in flight."""
    import anyio

    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
    with anyio.open_signal_receiver(*heeded) as signals:
        async for received in signals:
            seen.append(_SIGNALS[received])
            if len(seen) == 1:
                click.echo(f"{received.name}: finishing what is in flight; again to cut it off", err=True)
                stop.ask(f"interrupted by {received.name}")
            else:
                stop.cut_off()


def _report_on(folder: Path, *, as_json: bool) -> ExitCode:
    """Summarise a run into its folder and print it; the exit code of what was found."""
    from bench.analysis import exit_code
    from bench.api import conclude
    from bench.report.terminal import print_summary

    summary, answer, rendered = conclude(folder)
    if as_json:
        click.echo(rendered.decode("utf-8"))
    else:
        print_summary(_console(sys.stdout), summary, answer)
    click.echo(f"run: {folder}   (sendbench report {folder} writes the full report)", err=True)
    return exit_code(summary)


# -------------------------------------------------------------------------- report


def _newest(results: Path) -> Path:
    latest = results / "latest"
    if not latest.exists():
        raise UsageError(f"there is no run under {results}; make one with `sendbench run smoke`")
    return latest.resolve()


@commands.command()
@click.argument("run_folder", metavar="[RUN]", required=False, type=_FOLDER)
@click.option(
    "--format", "formats", default="html,md,json,csv", show_default=True, help="Formats, comma-separated."
)
@click.option("--out", type=_FOLDER, help="Where to write; default reports/<run>.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of writing files.")
@click.option("--list", "only_list", is_flag=True, help="Say which formats there are.")
@_inconclusive_option
def report(run_folder: Path | None, formats: str, out: Path | None, as_json: bool, only_list: bool) -> int:
    """Write the report of a run folder (default: the newest), on any machine."""
    from bench.analysis import exit_code
    from bench.api import summarise
    from bench.report import FORMATS, files_of
    from bench.report.addresses import without_addresses
    from bench.store import open_run

    if only_list:
        for each in FORMATS.values():
            click.echo(f"{each.name:<18}  {each.file_name:<22}  {each.title}")
        return ExitCode.PASS
    wanted = [each.strip() for each in formats.split(",") if each.strip()]
    for name in wanted:
        if name not in FORMATS:
            raise UsageError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    stored = open_run(run_folder or _newest(Path("results")))
    whole = any(FORMATS[name].whole for name in wanted)
    parts = without_addresses(*summarise(stored, whole=whole))
    if as_json:
        click.echo(FORMATS["json"].render(*parts).decode("utf-8"))
        return exit_code(parts[0])
    folder = out or Path("reports") / stored.folder.resolve().name
    for name in wanted:
        for file_name, content in files_of(FORMATS[name], *parts):
            click.echo(_write(folder / file_name, content))
    return exit_code(parts[0])


def _write(path: Path, content: bytes) -> Path:
    from bench.store import files

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace_file(path, content)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return path


@commands.command()
@click.argument("runs", nargs=-1, metavar="[A B]", type=_FOLDER)
@_json_option
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Put two runs side by side, case by case (default: the newest and the one of its scenario before)."""
    from bench.analysis.compare import compare as compare_summaries
    from bench.api import summarise
    from bench.report.compare import print_comparison, render_json
    from bench.store import open_run

    if len(runs) not in (0, 2):
        raise UsageError("compare takes two run folders, or none for the two newest of a scenario")
    a, b = (summarise(open_run(folder))[0] for folder in runs or _newest_pair(Path("results")))
    comparison = compare_summaries(a, b)
    if as_json:
        click.echo(render_json(comparison).decode("utf-8"))
    else:
        print_comparison(_console(sys.stdout), comparison)


def _newest_pair(results: Path) -> tuple[Path, Path]:
    """The newest run and the newest before it of the same scenario, older first."""
    from bench.store.reader import read_manifest

    newest = _newest(results)
    last = read_manifest(newest)
    scenario, found = last.scenario, list[tuple[str, Path]]()
    for folder in (path.parent for path in results.glob("*/manifest.json")):
        manifest = read_manifest(folder)  # a folder's name knows seconds only
        if manifest.scenario == scenario and manifest.started_at < last.started_at:
            found.append((manifest.started_at, folder))
    if found:
        return max(found)[1], newest
    raise UsageError(f"there is only one run of {scenario} under {results}; name two run folders")


# ------------------------------------------------------------------------ baseline


@commands.group()
def baseline() -> None:
    """Keep runs as a yardstick, in files that are small enough for git, and hold new runs against them.

    A comparison within one run (`compare` in a scenario) sees smaller differences with far fewer messages;
    this is for what cannot be run twice at once.
    """


def _results_option(function: Callable[..., object]) -> Callable[..., object]:
    return click.option(
        "--results", type=_FOLDER, default=Path("results"), help="Baselines are in its folder `baselines`."
    )(function)


@baseline.command("save")
@click.argument("runs", nargs=-1, metavar="[RUN...]", type=_FOLDER)
@_results_option
def baseline_save(runs: tuple[Path, ...], results: Path) -> None:
    """Add runs (default: the newest) to the baseline of their scenario; the last 40 are kept."""
    from bench.baselines import save

    path, saved = save(results, runs or (_newest(results),))
    count = len(saved.runs)
    click.echo(f"{path}: {count} run{'s' * (count != 1)}")


@baseline.command("list")
@_results_option
@_json_option
def baseline_list(results: Path, as_json: bool) -> None:
    """Say which baselines there are, of which machines and how many runs."""
    from bench.report.baselines import list_lines
    from bench.store import baselines

    found = [(machine, baselines.read(path)) for machine, path in baselines.stored(results)]
    if as_json:
        rows = [{"machine": name, "scenario": each.scenario, "runs": len(each.runs)} for name, each in found]
        click.echo(json.dumps(rows))
        return
    for line in list_lines(found):
        click.echo(line)


@baseline.command("show")
@click.argument("scenario")
@_results_option
@_json_option
def baseline_show(scenario: str, results: Path, as_json: bool) -> None:
    """Print what the baselines of a scenario hold."""
    from bench.report.baselines import show_lines
    from bench.report.json import dump
    from bench.store import baselines

    found = [(name, path) for name, path in baselines.stored(results) if path.stem == scenario]
    if not found:
        raise UsageError(f"there is no baseline of {scenario!r} under {results / baselines.FOLDER}")
    kept = {name: baselines.read(path) for name, path in found}
    if as_json:
        click.echo(dump(kept).decode("ascii"))
        return
    for name, each in kept.items():
        click.echo("\n".join(show_lines(name, each)))


@baseline.command("check")
@click.argument("runs", nargs=-1, metavar="[RUN...]", type=_FOLDER)
@click.option("--limit", "limits", multiple=True, metavar="5%|p95=10%,...", help="How much slower.")
@_results_option
@_json_option
@_inconclusive_option
def baseline_check(runs: tuple[Path, ...], limits: tuple[str, ...], results: Path, as_json: bool) -> int:
    """Hold new runs (default: the newest) against the baseline of their scenario on this class of machines.

    Ends with 0 (pass), 1 (regression) or 4 (inconclusive). One run is one observation: beside 10 in the
    baseline it takes 4 new ones to show anything, beside 40 it takes 2; more see smaller differences.
    """
    from bench.analysis.judgement import EXIT_CODES
    from bench.baselines import check
    from bench.gating import parse_limits
    from bench.report.baselines import check_lines, render_check

    found = check(results, runs or (_newest(results),), parse_limits(limits) or {})
    if as_json:
        click.echo(render_check(found).decode("ascii"))
    else:
        click.echo("\n".join(check_lines(found)))
    return EXIT_CODES[found.verdict]


# ---------------------------------------------------------- plan, validate, init ...


@commands.command()
@_scenario_options
@click.option("--gate", "gated", is_flag=True, help="Say how many messages a gate takes, by a run (--from).")
@click.option("--effect", default="5%", show_default=True, help="--gate: the slowdown it should find.")
@click.option("--power", default="95%", show_default=True, help="--gate: how often it should find it.")
@click.option("--from", "earlier", type=_FOLDER, metavar="RUN", help="--gate: a run of the same cases.")
@_json_option
def plan(
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    profile: str | None,
    gated: bool,
    effect: str,
    power: str,
    earlier: Path | None,
    as_json: bool,
) -> None:
    """Say what would be sent, where, how many and for how long. Opens no socket."""
    if gated:
        _plan_gates([_load(text, overrides, profile) for text in scenarios], earlier, effect, power, as_json)
        return
    if earlier is not None:
        raise UsageError("--from is for --gate: a plan of what is sent needs no run")
    from dataclasses import asdict

    from bench.limits import local_ports
    from bench.providers import messages_in_a_call
    from bench.providers.addresses import with_credentials
    from bench.scenario.plan import plan_case, whole_duration_ns

    ports = local_ports()
    for text in scenarios:
        scenario = with_credentials(_load(text, overrides, profile))
        planned = [plan_case(case, ports, messages_in_a_call(case)) for case in scenario.longest.cases]
        if as_json:
            shape = {"scenario": scenario.name, "cases": [asdict(each) for each in planned]}
            takes = {"duration_ns": whole_duration_ns(scenario.longest, planned)}
            remarks = {"beyond_limits": _beyond_limits(scenario), "left_out": scenario.left_out}
            click.echo(json.dumps(shape | takes | remarks))
            continue
        _print_plan(scenario, planned)


def _print_plan(scenario: Scenario, planned: Sequence[PlannedCase]) -> None:
    from bench.scenario.plan import whole_duration_ns

    click.echo(f"{scenario.name}: {scenario.description}")
    width = max(len(each.id) for each in planned)
    for each in planned:
        messages = "?" if each.messages is None else str(each.messages)
        trips = f"{each.round_trips:>2} round trips{' + QUIT' if each.leave_taking else ''}"
        click.echo(
            f"  {each.id:<{width}}  {messages:>6} messages  {trips:<21}"
            f"  about {format_duration(each.duration_ns)}  to {each.target}"
        )
    for assumption in sorted({each.assumed for each in planned if each.assumed}):
        click.echo(f"  the round trips hold {assumption}")
    for each in planned:
        if each.remark:
            click.echo(f"  note on {each.id}: {each.remark}")
    for sentence in _remarks(scenario):
        click.echo(f"  {sentence}")
    total_ns = whole_duration_ns(scenario.longest, planned)
    count = sum(each.messages or 0 for each in planned)
    click.echo(f"  {len(planned)} cases, {count} messages, about {format_duration(total_ns)} in all")
    for line in _real(scenario):
        click.echo(f"  {line}")


def _plan_gates(
    scenarios: Sequence[Scenario], earlier: Path | None, effect: str, power: str, as_json: bool
) -> None:
    """How many messages a gate takes, and how long."""
    from bench.planning import plan_gates
    from bench.report.planning import plan_lines, render_plans

    shares = _percentage("--effect", effect), _percentage("--power", power)
    if shares[0] <= 0 or not 0.5 <= shares[1] < 1:
        raise UsageError("--effect is more than 0%, --power at least 50% and less than 100%")
    if earlier is None or len(scenarios) > 1:
        raise UsageError(
            "plan --gate works from the spread of a run: name one scenario, and with --from a run of it; a "
            f"short one will do (sendbench run {Path(scenarios[0].file).name} --set load.messages=1000)"
        )
    plans = plan_gates(scenarios[0], earlier, *shares)
    if as_json:
        click.echo(render_plans(scenarios[0].name, plans).decode("ascii"))
    else:
        click.echo("\n".join(plan_lines(scenarios[0].name, plans)))


def _percentage(option: str, text: str) -> float:
    """`5%` -> 0.05"""
    percent = text.removesuffix("%")
    if percent == text or not percent.replace(".", "", 1).isdecimal():
        raise UsageError(f"{option} {text}: write a percentage, such as 5%")
    return float(percent) / 100


def _remarks(scenario: Scenario) -> list[str]:
    """What else a plan says of a scenario as a whole."""
    stages = ["the second half is only sent if the gate is inconclusive after the first"]
    beyond = [f"beyond a limit: {sentence}" for sentence in _beyond_limits(scenario)]
    return [*(stages if scenario.longest is not scenario else ()), *beyond, *scenario.left_out]


def _beyond_limits(scenario: Scenario) -> list[str]:
    """What the cases ask for above what their providers document, each sentence once."""
    from bench.providers.limits import beyond_limits

    return list(dict.fromkeys(each for case in scenario.longest.cases for each in beyond_limits(case)))


def _real(scenario: Scenario) -> list[str]:
    """What it takes to run what reaches real servers; nothing where nothing does (without --lab)."""
    from bench.api import real_cases
    from bench.errors import RefusedError
    from bench.guard import Guard
    from bench.model import TargetKind
    from bench.permit import deliveries, plan_hash

    try:
        real = real_cases(scenario, Guard())
        if not real:
            return []
        count, people = deliveries(real), {one for case in real for one in case.message.recipients}
        boxed = all(case.target.kind is TargetKind.SANDBOX for case in real)
    except RefusedError as error:
        return [f"a run would be refused: {error}"]
    whom = f"{len(people)} address{'es' * (len(people) != 1)}"
    allowed = _permission(live=True, budget=count, confirm="").allow_file
    return [
        f"real: {count} deliveries to {whom}, each of which must stand in {allowed}",
        f"to run it: {'' if boxed else '--live '}--budget {count} --confirm {plan_hash(real)}",
    ]


@commands.command()
@_scenario_options
@_json_option
def validate(
    scenarios: tuple[str, ...], overrides: tuple[str, ...], profile: str | None, as_json: bool
) -> None:
    """Check scenario files without running anything."""
    answers = []
    for text in scenarios:
        scenario = _load(text, overrides, profile)
        answers.append({"file": scenario.file, "name": scenario.name, "cases": len(scenario.cases)})
    if as_json:
        click.echo(json.dumps(answers))
        return
    for answer in answers:
        click.echo(f"{answer['file']}: ok, {answer['cases']} case{'s' * (answer['cases'] != 1)}")


@commands.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default=Path("scenario.yaml"))
def init(path: Path) -> None:
    """Write a scenario to start from."""
    import re

    from bench.scenario import find_scenario

    name = path.stem if re.fullmatch("[a-z0-9][a-z0-9_-]{0,63}", path.stem) else "mine"
    _modeline, _, text = find_scenario("smtp-vs-api").read_text(encoding="utf-8").partition("\n")
    text = text.replace("run smtp-vs-api", f"run {path}").replace("name: smtp-vs-api", f"name: {name}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists already; name another file") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"{path}: edit it, then `sendbench validate {path}` and `sendbench run {path}`")


@commands.command()
@click.option("--details", is_flag=True, help="Everything known of each, and what is unconfirmed.")
@_json_option
@click.argument("names", nargs=-1, metavar="[PROVIDER...]")
def providers(names: tuple[str, ...], details: bool, as_json: bool) -> None:
    """Say which providers there are and what they offer."""
    from dataclasses import asdict

    from bench.providers import PROVIDERS, get_provider
    from bench.report import providers as listing

    try:
        facts = [get_provider(name).facts for name in names or PROVIDERS]
    except ValueError as error:
        raise UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps([asdict(each) for each in facts]))
    elif details or names:
        click.echo("\n\n".join(listing.details(each) for each in facts))
    else:
        click.echo(listing.table(facts, shutil.get_terminal_size().columns))
        click.echo("- : not published or none; sendbench providers --details says all that is known")


@commands.command()
def schema() -> None:
    """Print the JSON Schema of scenario files."""
    from bench.scenario import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


# ---------------------------------------------------------------------------- mock


@commands.command()
@click.argument("kind", type=click.Choice(["smtp", "api", "all"]))
@click.option("--provider", default="generic", show_default=True, help="Whose credentials and answers.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--listen-any", is_flag=True, help="Allow a host that is not loopback.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: any free port.")
@click.option("--service-time", default="0", metavar="DURATION", help="How long it takes to decide.")
@click.option("--rtt", default="0", metavar="DURATION", help="Put a network of this round trip in front.")
@click.option("--tls", type=click.Choice(["starttls", "implicit", "none"]), default="starttls")
@click.option("--rate-limit", metavar="RATE", help="Throttle what is above, e.g. 50/s.")
@click.option("--faults", metavar="NAME|FILE", help="What goes wrong; with --log every byte is in LOG.bytes.")
@click.option("--no-auth", is_flag=True, help="SMTP: take mail from anybody.")
@click.option("--at-root", is_flag=True, help="Only --provider's API, with the vendor's own paths.")
@click.option("--seed", type=int, default=0)
@click.option("--log", type=click.Path(dir_okay=False), help="A line of JSON for each message taken.")
def mock(**options: object) -> None:
    """Serve a local mock until interrupted; prints one line of JSON once it is ready."""
    import anyio

    spec = _mock_spec(**options)  # type: ignore[arg-type]  # click has checked each of them
    anyio.run(_serve_mock, spec, backend_options={"use_uvloop": _has_uvloop()})


async def _serve_mock(spec: MockSpec) -> None:
    import anyio

    from bench.mock.serve import serve

    stop = anyio.Event()

    async def obey_signals(*, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            task_status.started()
            async for _ in signals:
                stop.set()

    async with anyio.create_task_group() as tasks:
        await tasks.start(obey_signals)  # whoever knows that it is ready may end it at once
        await serve([spec], lambda ready: click.echo(ready[0].to_json()), stop)
        tasks.cancel_scope.cancel()


def _has_uvloop() -> bool:
    return find_spec("uvloop") is not None


def _faults(text: str) -> tuple[Fault, ...]:
    """The script of a fault of the catalogue, or of a file."""
    from bench.scenario.faults import catalogue, read_case

    path = catalogue().get(text, Path(text))
    if not path.is_file():
        raise UsageError(f"no fault {text!r}: neither in the catalogue nor a file")
    return read_case(path).faults


def _mock_spec(
    kind: str,
    provider: str,
    host: str,
    listen_any: bool,
    port: int,
    service_time: str,
    rtt: str,
    tls: str,
    rate_limit: str | None,
    no_auth: bool,
    at_root: bool,
    faults: str | None,
    seed: int,
    log: str | None,
) -> MockSpec:
    from dataclasses import replace

    from bench.mock.spec import MockSpec
    from bench.model import Network, ServiceTime, TlsMode

    try:
        times = parse_duration(service_time), parse_duration(rtt)
        per_s = None if rate_limit is None else parse_rate(rate_limit)
    except ValueError as error:
        raise UsageError(str(error)) from error
    spec = MockSpec(
        kind=kind,
        provider=provider,
        host=host,
        listen_any=listen_any,
        port=port,
        service_time=ServiceTime(p50_ns=times[0]),
        network=Network(rtt_ns=times[1]),
        tls=TlsMode(tls),
        rate_limit=per_s or None,
        at_root=at_root,
        faults=_faults(faults) if faults else (),
        byte_log=f"{log}.bytes" if faults and log else None,
        seed=seed,
        log=log,
    )
    return replace(spec, auth_mechanisms=()) if no_auth else spec
