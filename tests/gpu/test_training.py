"""Training on a GPU: the CPU's losses, whatever is compiled, kept or computed again."""

from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from s1ray.config.training import ShardingConfig, TrainingConfig
from s1ray.records import StepMetrics
from s1ray.training.checkpoints.checkpoint import write_checkpoint
from s1ray.training.checkpoints.commit import CheckpointKind, read_manifest
from s1ray.training.checkpoints.saver import CheckpointSaver
from s1ray.training.loop import train
from s1ray.training.network.sharding import join_ranks
from tests.training.checkpoint_runs import (
    EXAMPLES,
    IDENTITY,
    LORA,
    TRAINING,
    advance,
    load,
    make_checkpointing,
    read_tensors,
    start,
)
from tests.training.plain_loop import draw_examples, make_sharding, make_training, save_tiny_model

pytestmark = pytest.mark.gpu
CUDA = make_sharding(device="cuda")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"), is_tied=False)


def follow(
    model: Path, *, sharding: ShardingConfig, training: TrainingConfig = TRAINING
) -> list[StepMetrics]:
    """Train to the end and return every step."""
    return list(
        train(
            start(model, training=training, sharding=sharding),
            examples=EXAMPLES,
            training=training,
            sharding=sharding,
            ranks=join_ranks(sharding),
        )
    )


def list_losses(steps: list[StepMetrics]) -> list[float]:
    return [step.loss_nats for step in steps]


@pytest.mark.parametrize("lora", [None, LORA])
def test_float32_losses_and_gradient_norms_are_the_cpus(
    model: Path, lora: dict[str, object] | None
) -> None:
    training = make_training(num_epochs=2, lora=lora)
    expected = follow(model, sharding=make_sharding(), training=training)
    found = follow(model, sharding=CUDA, training=training)

    assert len(found) == 6
    assert list_losses(found) == pytest.approx(list_losses(expected), rel=1e-4)
    assert [step.grad_norm for step in found] == pytest.approx(
        [step.grad_norm for step in expected], rel=1e-3
    )


@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
@pytest.mark.parametrize("is_compiled", [False, True])
def test_bfloat16_losses_under_varlen_are_near_float32s(
    model: Path, checkpointing: str, *, is_compiled: bool
) -> None:
    expected = follow(model, sharding=CUDA)
    sharding = make_sharding(
        device="cuda",
        attention="varlen",
        activation_checkpointing=checkpointing,
        compile=is_compiled,
    )
    training = TRAINING.model_copy(update={"compute_dtype": "bfloat16"})
    found = follow(model, sharding=sharding, training=training)

    assert list_losses(found) == pytest.approx(list_losses(expected), rel=1e-2)


def test_rows_of_other_documents_are_compiled_a_few_times_at_most(model: Path) -> None:
    sharding = make_sharding(
        device="cuda", attention="varlen", compile=True, activation_checkpointing="full"
    )
    training = make_training(num_epochs=4, compute_dtype="bfloat16")
    examples = draw_examples(0, num_samples=40, longest=50)
    torch.compiler.reset()
    counters.clear()
    steps = train(
        start(model, training=training, sharding=sharding),
        examples=examples,
        training=training,
        sharding=sharding,
        ranks=join_ranks(sharding),
    )
    num_graphs = [counters["stats"]["unique_graphs"] for _ in steps]

    assert len(num_graphs) == 40
    assert 0 < num_graphs[9] == num_graphs[-1] <= 4


def test_checkpoint_brings_every_bit_back_and_training_goes_on_as_it_would(
    tmp_path: Path, model: Path
) -> None:
    saver = CheckpointSaver(
        tmp_path,
        config=make_checkpointing(mode="asynchronous", permanent_every_steps=3),
        identity=IDENTITY,
    )
    state = advance(start(model, sharding=CUDA), 3, sharding=CUDA)
    at_save = read_tensors(state)
    saver.after_step(state, is_last=False, is_stopping=False, is_hurried=False)
    expected = read_tensors(advance(state, None, sharding=CUDA))
    saver.close()
    (directory,) = tmp_path.iterdir()
    resumed = load(start(model, sharding=CUDA), directory)

    assert read_manifest(directory).kind is CheckpointKind.PERMANENT
    brought_back = read_tensors(resumed)
    assert all(torch.equal(brought_back[name], at_save[name]) for name in at_save)
    found = read_tensors(advance(resumed, None, sharding=CUDA))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=1e-4)


def test_checkpoint_of_the_cpu_goes_on_upon_the_gpu(tmp_path: Path, model: Path) -> None:
    plain = make_sharding()
    whole = advance(start(model, sharding=plain), 3, sharding=plain)
    saver = CheckpointSaver(
        tmp_path, config=make_checkpointing(permanent_every_steps=3), identity=IDENTITY
    )
    saver.after_step(whole, is_last=False, is_stopping=False, is_hurried=False)
    saver.close()
    (directory,) = tmp_path.iterdir()
    moved = advance(load(start(model, sharding=CUDA), directory), None, sharding=CUDA)

    expected = read_tensors(advance(whole, None, sharding=plain))
    for name, tensor in read_tensors(moved).items():
        torch.testing.assert_close(tensor.cpu(), expected[name], atol=1e-4, rtol=1e-3)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU is every thread's")
def test_checkpoint_is_written_on_the_gpu_of_its_rank(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[int] = []

    def note_and_write(*args: object, **kwargs: object) -> object:
        devices.append(torch.cuda.current_device())
        return write_checkpoint(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("s1ray.training.checkpoints.saver.write_checkpoint", note_and_write)
    with torch.cuda.device(1):
        saver = CheckpointSaver(
            tmp_path, config=make_checkpointing(permanent_every_steps=1), identity=IDENTITY
        )
        state = advance(start(model, sharding=CUDA), 1, sharding=CUDA)
        saver.after_step(state, is_last=False, is_stopping=False, is_hurried=False)
        saver.close()
    assert devices == [1]
