"""Errors an operator can meet.

MidgateError
├── ConfigurationError      a setting is missing or contradicts another        exit 3
├── BrokerUnreachableError  no broker answered within the deadline             exit 4
├── NotAuthorizedError      the broker refused the principal                   exit 5
├── SchemaError             a schema or frame id does not fit                  exit 6
├── LogError                the authorization log cannot be followed
│   ├── EmptyLogError       `topics apply` has not been run
│   ├── WrongLogError       another log id, a version beyond the end
│   └── UpgradeNeededError  a kind, rule or symbol of a newer version
├── ChangeVoidError         the log's rule refused a change                    exit 7
├── LeaseExpiredError       the log could not be confirmed within the lease
├── TransactionFailedError  a transaction did not succeed (transaction_failures.py)
│   ├── TransactionRefusedError   the broker refuses a topic; it is named
│   └── TransactionTooLargeError  more bytes than one transaction may hold
├── DeposedError            somebody else owns the input now (delivery.py)
├── MissingOffsetError      a raw partition has no committed offset (delivery.py)
└── InputError              input from a person or a file is wrong             exit 2

Each carries `hint`: what the operator can do. Callers branch on the class or on `exit_code`.
"""


class MidgateError(Exception):
    """Root. `hint` is one sentence on what to do; shown as `hint: …` by the command line."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(MidgateError):
    """A setting is missing, malformed or contradicts another."""

    exit_code = 3


class BrokerUnreachableError(MidgateError):
    """No broker answered within the deadline."""

    exit_code = 4


class NotAuthorizedError(MidgateError):
    """The broker refused the principal."""

    exit_code = 5


class SchemaError(MidgateError):
    """A schema or a frame id does not fit."""

    exit_code = 6


class LogError(MidgateError):
    """The authorization log cannot be followed; nothing is decided."""


class EmptyLogError(LogError):
    """The authorization log has no record 0. Operator action: `midgate topics apply`."""


class WrongLogError(LogError):
    """Another log id, or a version beyond the end. Operator action: find out what was restored."""


class UpgradeNeededError(LogError):
    """The log holds a kind, rule or symbol of a newer version. Operator action: upgrade."""


class ChangeVoidError(MidgateError):
    """The acceptance rule refused the change; `reason` is the rule's own word."""

    exit_code = 7

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class LeaseExpiredError(MidgateError):
    """The end of the authorization log could not be confirmed within the lease."""


class InputError(MidgateError):
    """Input from a person or a file is wrong; the message names file, line and field."""

    exit_code = 2
