"""The account of a run in the crate graph: parameters, steps, actions and what flows between them.

The engine's run is an OrganizeAction that leads to the workflow's run, a CreateAction; each stage is a HowToStep
whose run, another CreateAction, hangs on a ControlAction. Tasks are in the record and not in the graph.

Stages hand events on in memory. Such a stream is a PropertyValue here: the profiles ask that an action has a
result and that a parameter has an example, and no file would be true.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

from fasthep_archive.bundle import entities, identifiers
from fasthep_archive.bundle.description import Description, Role, Status, Step
from fasthep_archive.bundle.identifiers import instant, segment
from fasthep_archive.bundle.jsonld import NAMESPACE, ROOT, Graph, Ref

_STATUS: Mapping[Status, str] = {
    "completed": "http://schema.org/CompletedActionStatus",
    "failed": "http://schema.org/FailedActionStatus",
}

_CONFIGURATION: frozenset[Role] = frozenset({"lock", "packages", "hardware", "engine"})
"""Files that the run as a whole had before it, besides the inputs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """The graph under construction and the entities that many others refer to."""

    graph: Graph
    description: Description
    authors: tuple[Ref, ...]
    workflow: Ref
    engine: Ref
    files: Mapping[str, Ref]
    """Every file of the bundle, by path."""
    datasets: Mapping[str, tuple[Ref, ...]]
    """Inputs by dataset; an input of no dataset is one under its own name."""

    def action(self, *what: str) -> str:
        """Return the id of an action: of this run, the same whenever this run is described."""
        moment = instant(self.description.started)
        return f"#{uuid.uuid5(NAMESPACE, json.dumps([self.description.identity, moment, *what]))}"

    def of_role(self, *roles: Role) -> list[Ref]:
        """Return the files of these roles, in the order of the description."""
        return [self.files[file.path] for file in self.description.files if file.role in roles]


def add(story: Story) -> None:
    """Add the run: the engine's, the workflow's and that of each step."""
    _add_variables(story)
    _add_inputs(story)
    story.graph.link(story.workflow, softwareRequirements=[story.files[path] for path in story.description.code])
    steps = _ordered(story.description.steps)
    read = {need for step in steps for need in step.needs}
    controls = [
        _add_step(story, step, position, streams=step.id in read or not step.outputs)
        for position, step in enumerate(steps)
    ]
    unread = [step.id for step in steps if step.id not in read and not step.outputs]
    _add_run(story, controls=[control for control in controls if control], unread=unread)


def _add_variables(story: Story) -> None:
    """Add the recorded environment variables as parameters of the workflow and as values of its actions."""
    for name in sorted(story.description.variables):
        about = "Environment variable that can change results"
        formal = entities.parameter(story.graph, f"#variable/{segment(name)}", "Text", name=name, description=about)
        value = story.graph.add(
            f"#variable/{segment(name)}/value",
            "PropertyValue",
            name=name,
            description=about,
            value=story.description.variables[name],
        )
        entities.realise(story.graph, [value], formal)
        story.graph.link(story.workflow, environment=formal)


def _variables(story: Story) -> list[Ref]:
    return [Ref(f"#variable/{segment(name)}/value") for name in sorted(story.description.variables)]


def _add_inputs(story: Story) -> None:
    """Add a parameter of the workflow for each dataset."""
    for name, files in story.datasets.items():
        about = f"Files of dataset {name}"
        formal = entities.parameter(
            story.graph, f"#input/{segment(name)}", "File", name=name, description=about, many=True
        )
        entities.realise(story.graph, files, formal)
        story.graph.link(story.workflow, input=formal)


def _ordered(steps: Iterable[Step]) -> list[Step]:
    """Return the steps such that needs come first, otherwise in the order given."""
    given = {step.id: step for step in steps}
    sorter = TopologicalSorter({step.id: [need for need in step.needs if need in given] for step in given.values()})
    rank = {name: number for number, name in enumerate(given)}
    sorter.prepare()
    ordered: list[Step] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=rank.__getitem__)
        ordered += [given[name] for name in ready]
        sorter.done(*ready)
    return ordered


def _add_step(story: Story, step: Step, position: int, *, streams: bool) -> Ref | None:
    """Add a step, the tool that it applies, its parameters, and its run unless it was skipped.

    :param streams: whether it hands events on.
    :returns: the engine's act of having run it.
    """
    graph, engine = story.graph, story.description.engine
    what = step.description or f"{step.op} as stage {step.id} configures it"
    tool = graph.add(
        f"{identifiers.package(engine.name, engine.version)}#{segment(step.op)}/{segment(step.id)}",
        "SoftwareApplication",
        name=step.op,
        description=what,
        url=engine.url,
        version=engine.version,
        softwareRequirements=story.engine,
    )
    howto = graph.add(
        f"#step/{segment(step.id)}",
        "HowToStep",
        name=step.id,
        description=what,
        position=str(position),
        workExample=tool,
    )
    graph.link(howto, buildInstructions=story.of_role("lock"))
    # No parts of the workflow: the profile has these be instruments of actions, and the tools are that.
    graph.link(tool, softwareRequirements=[story.files[path] for path in step.code])
    graph.link(story.workflow, step=howto)
    used = [*_add_sources(story, step, tool, howto), *_add_options(graph, step, tool)]
    made = _add_results(story, step, tool, streams=streams)
    if step.status == "skipped":
        return None
    # Only what ran: a tool among the workflow's parts that is no action's instrument breaks the profile.
    graph.link(story.workflow, hasPart=tool)
    return _add_step_run(story, step, tool, howto, used=used, made=made)


def _add_sources(story: Story, step: Step, tool: Ref, howto: Ref) -> list[Ref]:
    """Add what flows into a step, from files or from the steps before it, and return it."""
    graph = story.graph
    steps = {other.id for other in story.description.steps}
    used: list[Ref] = []
    if story.datasets and (not step.needs or not steps.issuperset(step.needs)):
        about = "Files that the stage reads"
        formal = entities.parameter(graph, f"{howto.id}/in", "File", name="inputs", description=about, many=True)
        graph.link(tool, input=formal)
        for name, files in story.datasets.items():
            entities.realise(graph, files, formal)
            _connect(graph, howto, Ref(f"#input/{segment(name)}"), formal)
            used += files
    for need in step.needs:
        if need in steps:
            about = f"Events from stage {need}"
            formal = entities.parameter(
                graph, f"{howto.id}/in/{segment(need)}", "PropertyValue", name=f"{need} events", description=about
            )
            stream = _stream(graph, need)
            graph.link(tool, input=formal)
            entities.realise(graph, [stream], formal)
            _connect(graph, howto, Ref(f"#step/{segment(need)}/out"), formal)
            used.append(stream)
    return used


def _stream(graph: Graph, step: str) -> Ref:
    """Add the events that a step hands on."""
    about = "Events as the stage leaves them, handed on in memory and kept in no file"
    return graph.add(
        f"#step/{segment(step)}/events", "PropertyValue", name=f"{step} events", description=about, value=step
    )


def _connect(graph: Graph, receiver: Ref, source: Ref, target: Ref) -> None:
    """Connect two formal parameters. ``receiver`` is the step into which the data flow, or the workflow itself."""
    connection = graph.add(
        f"#{uuid.uuid5(NAMESPACE, json.dumps([source.id, target.id]))}",
        "ParameterConnection",
        name="data flow",
        description=f"{source.id} -> {target.id}",
        sourceParameter=source,
        targetParameter=target,
    )
    graph.link(receiver, connection=connection)


def _add_options(graph: Graph, step: Step, tool: Ref) -> list[Ref]:
    """Add the parameters of a stage as formal parameters of its tool, and return their values."""
    values = []
    for name, text in step.parameters.items():
        identifier = f"#step/{segment(step.id)}/option/{segment(name)}"
        kind, shown = _typed(text)
        about = f"Parameter {name} of stage {step.id}"
        formal = entities.parameter(graph, identifier, kind, name=name, description=about)
        value = graph.add(f"{identifier}/value", "PropertyValue", name=name, description=about, value=shown)
        graph.link(tool, input=formal)
        entities.realise(graph, [value], formal)
        values.append(value)
    return values


def _typed(text: str) -> tuple[str, str]:
    """Return the schema.org type of a JSON text and the text of its value: of a string, the string itself."""
    value = json.loads(text)
    if isinstance(value, str):
        return "Text", value
    kinds: Mapping[type, str] = {bool: "Boolean", int: "Integer", float: "Float"}
    return kinds.get(type(value), "PropertyValue"), text


def _add_results(story: Story, step: Step, tool: Ref, *, streams: bool) -> list[Ref]:
    """Add what a step makes: files, which are outputs of the workflow, and the events that it hands on."""
    graph = story.graph
    made = [story.files[path] for path in step.outputs]
    for file in made:
        name, about = file.id.rpartition("/")[2], f"Product of stage {step.id}"
        own = entities.parameter(graph, f"#step/{segment(step.id)}/out/{file.id}", "File", name=name, description=about)
        whole = entities.parameter(graph, f"#output/{file.id}", "File", name=name, description=about)
        for formal in (own, whole):
            entities.realise(graph, [file], formal)
        graph.link(tool, output=own)
        graph.link(story.workflow, output=whole)
        _connect(graph, story.workflow, own, whole)
    if streams:
        about = f"Events that stage {step.id} hands on"
        formal = entities.parameter(
            graph, f"#step/{segment(step.id)}/out", "PropertyValue", name=f"{step.id} events", description=about
        )
        stream = _stream(graph, step.id)
        entities.realise(graph, [stream], formal)
        graph.link(tool, output=formal)
        made.append(stream)
    return made


def _add_step_run(story: Story, step: Step, tool: Ref, howto: Ref, *, used: list[Ref], made: list[Ref]) -> Ref:
    """Add the run of a step, and the engine's act of having run it."""
    graph, description = story.graph, story.description
    # Stages that share a pass over the data have no times of their own: the run's enclose them.
    times = {
        "startTime": instant(step.started or description.started),
        "endTime": instant(step.ended or description.ended),
        "actionStatus": _STATUS[step.status],
    }
    identifier = story.action("step", step.id)
    run = graph.add(
        identifier,
        "CreateAction",
        name=f"Run of stage {step.id}",
        description=f"{step.op}, in the run of {description.workflow_name}",
        instrument=tool,
        agent=story.authors[0],
        object=used,
        result=made,
        environment=_variables(story),
        resourceUsage=entities.usage(graph, identifier, step.usage),
        **times,
    )
    control = graph.add(
        story.action("control", step.id),
        "ControlAction",
        name=f"Orchestration of stage {step.id}",
        description="The engine ran the stage",
        instrument=howto,
        object=run,
        **times,
    )
    graph.link(ROOT, mentions=[run, control])
    return control


def _add_run(story: Story, *, controls: list[Ref], unread: list[str]) -> None:
    """Add the run of the workflow, the engine's run that brought it about, and the machine.

    :param unread: steps that keep nothing and whose events no step reads: the results when there is no file.
    """
    graph, description = story.graph, story.description
    statuses = {step.status for step in description.steps}
    times = {
        "startTime": instant(description.started),
        "endTime": instant(description.ended),
        "actionStatus": _STATUS["failed" if "failed" in statuses else "completed"],
    }
    outputs = [story.files[file.path] for file in description.outputs]
    identifier = story.action("workflow")
    run = graph.add(
        identifier,
        "CreateAction",
        name=f"Run of {description.workflow_name}",
        description="The run that made the outputs of this bundle",
        instrument=story.workflow,
        agent=story.authors[0],
        object=[*(file for files in story.datasets.values() for file in files), *story.of_role(*_CONFIGURATION)],
        result=outputs or [_stream(graph, step) for step in unread],
        environment=_variables(story),
        resourceUsage=entities.usage(graph, identifier, description.usage),
        executedOn=entities.machine(graph, description.machine, story.of_role("hardware")),
        **times,
    )
    engine = graph.add(
        story.action("engine"),
        "OrganizeAction",
        name=f"Run of {description.engine.name} {description.engine.version}",
        description="The engine ran the workflow",
        instrument=story.engine,
        agent=story.authors[0],
        object=controls,
        result=run,
        **times,
    )
    for file in story.of_role("engine"):
        graph.link(file, about=engine)
    for file in story.of_role("record", "log"):
        graph.link(file, about=run)
    graph.link(ROOT, mentions=[run, engine])
