"""Register at M-Pesa our addresses for payments by hand, and that we may pull transactions:
`python -m payments.register`.

Once for each shortcode in production; at every start in the pretend world, which forgets them.
"""

import sys

import settings as all_settings
from core.database import utc_now
from core.errors import Declined, Unavailable
from payments import daraja


def main() -> int:
    settings = all_settings.from_environment(needs=())
    gateway = daraja.connect(settings, clock=utc_now, processes=1)
    try:
        secret = settings.daraja_c2b_secret.get_secret_value()
        print(gateway.register_urls(secret))
        if settings.daraja_pull_msisdn is not None:
            print("to pull:", gateway.register_pull(settings.daraja_pull_msisdn, secret))
    except (Declined, Unavailable) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        gateway.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
