"""Every error EvoGit raises on purpose, and the exit code each becomes at the CLI's boundary.

    EvoGitError                 exit 1: expected, printed as one message
    ├── UsageError              exit 2: the command line asks for something impossible
    ├── DefinitionError         a mistake in a task, agent or configuration file (file, key, expectation)
    ├── StoreError              Git said no, or the repository is not what it should be
    │   ├── RefMoved            compare-and-swap lost: somebody else moved the ref
    │   └── Unreachable         a remote did not answer, or not in time; trying again later makes sense
    ├── EvaluationError         the evaluator itself cannot work (not: a candidate failed)
    │   └── SandboxError        no sandbox works here, and none was waived
    ├── VariationError          this child cannot be made; counted as a rejection, never fatal
    └── RunBusy                 exit 5: another process holds this run on this host

Messages name what was wrong, where (file, key, line) and the next command to type.
"""

from __future__ import annotations


class EvoGitError(Exception):
    """An expected failure; its message is written for the user."""

    exit_code = 1


class UsageError(EvoGitError):
    exit_code = 2


class DefinitionError(EvoGitError):
    """A definition file has a mistake. Names the file, the key (dotted) and what was expected."""

    def __init__(self, file: object, key: str, expected: str) -> None:
        self.file, self.key, self.expected = str(file), key, expected
        super().__init__(f"{file}: {key}: {expected}" if key else f"{file}: {expected}")


class StoreError(EvoGitError):
    pass


class RefMoved(StoreError):
    pass


class Unreachable(StoreError):
    pass


class EvaluationError(EvoGitError):
    pass


class SandboxError(EvaluationError):
    pass


class ModelError(EvoGitError):
    """A model gave no usable answer, after the retries that made sense.

    `fatal`: no later request can succeed either (no key, unknown model, wrong address), so the model leaves the run.
    `refused`: the model itself declined; that is no fault of the server. `tokens`, as (input, output), were billed
    nevertheless, or may have been. `wait` is how many seconds the server asked to be left alone, if it did.
    `outage`: it is the server's fault or the budget's, not that of what was asked or of how long an answer was wished.
    """

    def __init__(
        self,
        message: str,
        *,
        fatal: bool = False,
        refused: bool = False,
        tokens: tuple[int, int] = (0, 0),
        wait: float | None = None,
        outage: bool = False,
    ) -> None:
        super().__init__(message)
        self.fatal, self.refused, self.tokens, self.wait = fatal, refused, tokens, wait
        self.outage = outage or fatal


class VariationError(EvoGitError):
    """No child. `reason` is the word it is counted under, one of `values.Reason`."""

    def __init__(self, message: str, reason: str = "invalid") -> None:
        super().__init__(message)
        self.reason = reason


class RunBusy(EvoGitError):
    exit_code = 5
