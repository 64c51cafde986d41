"""What Label Studio is told by its environment, wherever it runs: one list for `serve`, the compose file and the chart."""

from __future__ import annotations

from urllib.parse import urlsplit

# Nothing is asked of or told to anybody outside; accounts by invitation alone; API tokens of a kind that programs can use.
QUIET = {
    "LABEL_STUDIO_COLLECT_ANALYTICS": "False",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "False",
    "LABEL_STUDIO_SENTRY_DSN": "",
    "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_FEATURE_FLAGS_OFFLINE": "True",
    "LABEL_STUDIO_CONVERTER_DOWNLOAD_RESOURCES": "False",
    "LABEL_STUDIO_DEBUG": "False",
    "LABEL_STUDIO_LOG_LEVEL": "WARNING",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "True",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "True",
    # The webhook and the backend of a campaign run beside the server, on private addresses.
    "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "False",
    "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "False",
}


def public(url: str) -> dict[str, str]:
    """What depends on the URL by which people reach the server.

    >>> public("https://labels.example.org/studio")["LABEL_STUDIO_CSRF_TRUSTED_ORIGINS"]
    'https://labels.example.org'
    """
    parts = urlsplit(url)
    secure = str(int(parts.scheme == "https"))
    return {
        "LABEL_STUDIO_HOST": url,
        "LABEL_STUDIO_CSRF_TRUSTED_ORIGINS": f"{parts.scheme}://{parts.netloc}",
        "LABEL_STUDIO_SESSION_COOKIE_SECURE": secure,
        "LABEL_STUDIO_CSRF_COOKIE_SECURE": secure,
    }


def postgres(name: str, user: str, password: str, host: str, port: str) -> dict[str, str]:
    """Where the database is. host: a name, or the folder of a socket."""
    return {
        "LABEL_STUDIO_DJANGO_DB": "default",
        "LABEL_STUDIO_POSTGRE_NAME": name,
        "LABEL_STUDIO_POSTGRE_USER": user,
        "LABEL_STUDIO_POSTGRE_PASSWORD": password,
        "LABEL_STUDIO_POSTGRE_HOST": host,
        "LABEL_STUDIO_POSTGRE_PORT": port,
    }


def admin(email: str, password: str, token: str) -> dict[str, str]:
    """The first account, made when the database has none of that name."""
    return {"LABEL_STUDIO_USERNAME": email, "LABEL_STUDIO_PASSWORD": password, "LABEL_STUDIO_USER_TOKEN": token}
