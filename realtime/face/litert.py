"""Models of the mediapipe wheel, taken apart and run by LiteRT (XNNPACK) on one thread."""

from __future__ import annotations

import copy
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


def available() -> bool:
    """LiteRT is installed; there is no wheel of it for Macs with Intel processors."""
    return find_spec("ai_edge_litert") is not None


def model_of(name: str) -> Any:
    """A model of the mediapipe wheel by its path below `modules`, as LiteRT's schema has it."""
    from ai_edge_litert import schema_py_generated as schema

    spec = find_spec("mediapipe")
    assert spec is not None
    assert spec.origin is not None
    content = (Path(spec.origin).parent / "modules" / name).read_bytes()
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))


def part_of(model: Any, inputs: list[int], outputs: list[int]) -> bytes:
    """The model file of what lies between these tensors."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    whole = model.subgraphs[0]
    kept, seen = _between(whole, inputs, outputs)
    number = {tensor: new for new, tensor in enumerate(sorted(seen))}
    part = schema.ModelT()
    part.version, part.operatorCodes, part.buffers = model.version, model.operatorCodes, [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    graph.inputs, graph.outputs = [number[t] for t in inputs], [number[t] for t in outputs]
    for tensor in map(copy.copy, (whole.tensors[t] for t in sorted(seen))):
        held = model.buffers[tensor.buffer]
        tensor.buffer = 0 if held.data is None else len(part.buffers)
        part.buffers += [held] if tensor.buffer else []
        graph.tensors.append(tensor)
    for op in (copy.copy(op) for op in kept):
        op.inputs = [number.get(int(t), -1) for t in op.inputs]
        op.outputs = [number[int(t)] for t in op.outputs]
        graph.operators.append(op)
    part.subgraphs = [graph]
    builder = flatbuffers.Builder(1 << 21)
    builder.Finish(part.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _between(graph: Any, inputs: list[int], outputs: list[int]) -> tuple[list[Any], set[int]]:
    """The operators that lead from `inputs` (and constants) to `outputs`, in order, and all their tensors."""
    made = {int(output): op for op in graph.operators for output in op.outputs}
    wanted, seen, kept = list(outputs), set(), set()
    while wanted:
        tensor = wanted.pop()
        if tensor in seen or tensor < 0:
            continue
        seen.add(tensor)
        if tensor in made and tensor not in inputs:
            kept.add(id(made[tensor]))
            wanted += [int(one) for one in made[tensor].inputs]
    return [op for op in graph.operators if id(op) in kept], seen


def stretches(model: Any, outputs: list[int], count: int) -> list[tuple[list[int], list[int]]]:
    """Where to cut a model of one input so that its way to `outputs` falls into `count` stretches of about as many
    multiplications: the tensors that go into each, and those that come out of it."""
    graph = model.subgraphs[0]
    begin = [int(tensor) for tensor in graph.inputs]
    operators, _ = _between(graph, begin, outputs)
    flows = set(begin)  # what depends on the input; the rest are weights
    work, after = [], []
    for op in operators:
        of_input = any(int(tensor) in flows for tensor in op.inputs)
        if of_input:
            flows.update(int(tensor) for tensor in op.outputs)
        work.append(_multiplications(graph, op) if of_input else 0)
        after.append(set(flows))
    done = np.cumsum(work) / max(1, sum(work))
    cuts = [int(np.searchsorted(done, (k + 1) / count)) for k in range(count - 1)]
    ways = [begin]
    for cut in cuts:
        later = {int(tensor) for op in operators[cut + 1 :] for tensor in op.inputs} | set(outputs)
        ways.append(sorted(after[cut] & later))
    return [*zip(ways, [*ways[1:], outputs], strict=True)]


def _multiplications(graph: Any, op: Any) -> int:
    """About how many an operator does: its weights at each place of its output."""
    shapes = [graph.tensors[int(tensor)].shape for tensor in op.inputs if tensor >= 0]
    weights = math.prod(int(n) for n in shapes[1]) if len(shapes) > 1 and len(shapes[1]) == 4 else 1
    out = graph.tensors[int(op.outputs[0])].shape
    return weights * math.prod(int(n) for n in out[1:3]) if len(out) == 4 else weights


class Runner:
    """One part, run by LiteRT on one thread, without Python's lock."""

    def __init__(self, model: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._runtime = Interpreter(model_content=model, num_threads=1)
        self._runtime.allocate_tensors()
        self._inputs = [said["index"] for said in self._runtime.get_input_details()]
        self._outputs = [said["index"] for said in self._runtime.get_output_details()]

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Copies of the outputs."""
        for index, value in zip(self._inputs, inputs, strict=True):
            self._runtime.set_tensor(index, value)
        self._runtime.invoke()
        return [self._runtime.get_tensor(index) for index in self._outputs]
