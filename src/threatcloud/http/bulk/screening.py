"""The screener of the process that reads an import."""

from threatcloud.services.bulk.frames import ReadJob
from threatcloud.services.screening import Screener


def screener_of(job: ReadJob) -> Screener:
    """The screener with the files the server has; loading it takes most of a second."""
    from threatcloud.config import load_settings
    from threatcloud.http.logs import configure_logs
    from threatcloud.services.loading import make_screener

    configure_logs("warning", "auto")
    return make_screener(load_settings(job.screening))
