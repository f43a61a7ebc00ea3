"""Small graphs that meet every way a step can end."""

from collections.abc import Iterator

import dagster as dg


@dg.op
def one() -> int:
    return 1


@dg.op
def add(number: int) -> int:
    return number + 1


@dg.op
def join(numbers: list[int]) -> int:
    return sum(numbers)


@dg.op
def broken(number: int) -> int:
    raise ValueError("no")


@dg.op
def broken_at_one(number: int) -> int:
    if number == 1:
        raise ValueError("one")
    return number


@dg.op
def refusing(number: int) -> int:
    raise dg.Failure("never again", allow_retries=False)


@dg.op(out={"left": dg.Out(is_required=False), "right": dg.Out(is_required=False)})
def fork() -> Iterator[dg.Output[int]]:
    yield dg.Output(1, "left")


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2, delay=0.05))
def third_time_lucky(context: dg.OpExecutionContext, number: int) -> int:
    if context.retry_number < 2:
        raise ValueError("not yet")
    return number


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1, delay=0.05))
def never_lucky(number: int) -> int:
    raise ValueError("not ever")


@dg.op
def asks_again(context: dg.OpExecutionContext, number: int) -> int:
    if context.retry_number == 0:
        raise dg.RetryRequested(max_retries=1)
    return number


def fan(count: int, *, is_required: bool = True, retries: int = 0) -> dg.OpDefinition:
    """An op with so many dynamic outputs, which fails after yielding them so many times."""

    @dg.op(
        name=f"fan_{count}_{'required' if is_required else 'optional'}_{retries}",
        out=dg.DynamicOut(int, is_required=is_required),
        retry_policy=dg.RetryPolicy(max_retries=retries, delay=0.05) if retries else None,
    )
    def fanning(context: dg.OpExecutionContext) -> Iterator[dg.DynamicOutput[int]]:
        for number in range(count):
            yield dg.DynamicOutput(number, mapping_key=f"n{number}")
        if context.retry_number < retries:
            raise ValueError("after its outputs")

    return fanning


@dg.graph
def chain() -> None:
    add(add(one()))


@dg.graph
def failure_in_the_middle() -> None:
    number = one()
    add(broken(number))
    add(add(number))


@dg.graph
def failure_that_forbids_retries() -> None:
    add(refusing(one()))


@dg.graph
def optional_output() -> None:
    left, right = fork()
    join([add(left), add(right)])
    add(add(right))


@dg.graph
def retries() -> None:
    number = one()
    join([third_time_lucky(number), asks_again(number)])
    add(never_lucky(number))


@dg.graph
def no_dynamic_output() -> None:
    join(fan(0)().map(add).collect())


@dg.graph
def one_dynamic_output() -> None:
    join(fan(1)().map(add).collect())


@dg.graph
def some_dynamic_outputs() -> None:
    join(fan(12)().map(add).collect())


@dg.graph
def many_dynamic_outputs() -> None:
    join(fan(128)().map(add).collect())


@dg.graph
def optional_dynamic_output_that_yields_nothing() -> None:
    join(fan(0, is_required=False)().map(add).collect())
    add(one())


@dg.graph
def failing_branch() -> None:
    join(fan(3)().map(lambda number: add(broken_at_one(number))).collect())


@dg.graph
def outputs_before_a_retry() -> None:
    join(fan(2, retries=2)().map(add).collect())


EVERY = (
    chain,
    failure_in_the_middle,
    failure_that_forbids_retries,
    optional_output,
    retries,
    no_dynamic_output,
    one_dynamic_output,
    some_dynamic_outputs,
    optional_dynamic_output_that_yields_nothing,
    failing_branch,
    outputs_before_a_retry,
)
