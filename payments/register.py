"""Register our addresses for payments by hand at M-Pesa: `python -m payments.register`.

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
        print(gateway.register_urls(settings.daraja_c2b_secret.get_secret_value()))
    except (Declined, Unavailable) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        gateway.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
