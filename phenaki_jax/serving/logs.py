"""Structured logs: one JSON object per line on standard error."""

import json
import logging
import sys

_FIELDS = ('request', 'story', 'method', 'path', 'status', 'seconds')


class JsonFormatter(logging.Formatter):
  """Writes the message and the known fields of a record as JSON."""

  def format(self, record: logging.LogRecord) -> str:
    """Return one line."""
    values = {
      'time': round(record.created, 3),
      'level': record.levelname.lower(),
      'logger': record.name,
      'message': record.getMessage(),
    }
    values |= {
      name: getattr(record, name) for name in _FIELDS if hasattr(record, name)
    }
    if record.exc_info:
      values['error'] = self.formatException(record.exc_info)
    return json.dumps(values, default=str)


def use_json() -> None:
  """Let all loggers write JSON to standard error."""
  handler = logging.StreamHandler(sys.stderr)
  handler.setFormatter(JsonFormatter())
  logging.getLogger().handlers[:] = [handler]
