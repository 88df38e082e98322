"""Prometheus metrics of a server, in a registry of its own."""

from collections.abc import Mapping

import prometheus_client as prometheus


class Metrics:
  """Counters that `render` writes in the text format of Prometheus.

  Attributes:
    requests: HTTP requests by method, route and status.
    latency: seconds until a response begins, by route.
    frames: frames that were made or read again.
    seconds: from the request of a story to its film.
    clips: clips that were sampled.
    batches: seconds of a batch on the device, by its padded size.
    streams: clients that follow a story now.
  """

  def __init__(self) -> None:
    """Create the metrics."""
    self._registry = registry = prometheus.CollectorRegistry()
    counter, histogram = prometheus.Counter, prometheus.Histogram
    self.requests = counter(
      'phenaki_requests_total',
      'HTTP requests',
      ['method', 'route', 'status'],
      registry=registry,
    )
    self.latency = histogram(
      'phenaki_request_seconds',
      'Seconds until a response begins',
      ['route'],
      registry=registry,
    )
    self.frames = counter(
      'phenaki_frames_total', 'Frames of stories', registry=registry
    )
    self.seconds = histogram(
      'phenaki_story_seconds',
      'Seconds from the request of a story to its film',
      buckets=(1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
      registry=registry,
    )
    self.clips = counter(
      'phenaki_clips_total', 'Clips that were sampled', registry=registry
    )
    self.batches = histogram(
      'phenaki_batch_seconds',
      'Seconds of a batch on the device',
      ['size'],
      registry=registry,
    )
    self.streams = prometheus.Gauge(
      'phenaki_streams', 'Clients that follow a story', registry=registry
    )
    self._jobs = prometheus.Gauge(
      'phenaki_stories', 'Stories by status', ['status'], registry=registry
    )

  def batch(self, requests: int, size: int, seconds: float) -> None:
    """Count a batch of clips."""
    self.clips.inc(requests)
    self.batches.labels(size=str(size)).observe(seconds)

  def ended(self, jobs: Mapping[str, int]) -> None:
    """Set the number of stories of each status."""
    for status in ('queued', 'running', 'done', 'failed', 'cancelled'):
      self._jobs.labels(status=status).set(jobs.get(status, 0))

  def render(self) -> bytes:
    """Return all metrics in the text format of Prometheus."""
    return prometheus.generate_latest(self._registry)
