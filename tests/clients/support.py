"""What these tests share: programs under `goroutines run`."""

from pathlib import Path

from helpers import scaled, script, slack, told

HERE = Path(__file__).parent
CERTIFICATE = HERE.parent / "patch" / "localhost.pem"
UNDER = ["-m", "goroutines", "run"]
REQUESTS = scaled(1000, 50)


def fine(source: str, **env: object) -> None:
    """The program, run by `goroutines run`, ends with code 0 and leaves stderr empty."""
    settings = {
        "PYTHONPATH": HERE,
        "REQUESTS": REQUESTS,
        "SLACK": slack(1),
        "SSL_CERT_FILE": CERTIFICATE,
        "REQUESTS_CA_BUNDLE": CERTIFICATE,
        **env,
    }
    done = script(source, options=UNDER, env={k: str(v) for k, v in settings.items()}, timeout=100)
    assert (done.returncode, done.stderr) == (0, ""), told(done)
