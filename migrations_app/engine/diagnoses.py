"""What is told about a failed login: code, message, hint, and whether trying again may help; by where it ended.

Places: where (side, host and port), side, host, port, address, user, database, words (what the server or the system
said), state (SQLSTATE), ssh (host and port), ssh_user, is and was (fingerprints).
"""

from __future__ import annotations

from .dialling import Reason
from .wording import template

WALK: dict[Reason, tuple[str, str, str, bool]] = {
    Reason.DNS: (
        "CONNECT-DNS",
        template("The name {host} of the {side} cannot be resolved: {words}."),
        template(
            "Check the spelling, or enter the IP address. The name is looked up from the machine that runs the workers."
        ),
        True,  # a name that was there yesterday comes back; one that never was, the check has refused
    ),
    Reason.REFUSED: (
        "CONNECT-REFUSED",
        template("Nothing accepts connections at the {where}."),
        template("Check address and port, that PostgreSQL runs, and that its listen_addresses is not only localhost."),
        True,
    ),
    Reason.TIMEOUT: (
        "CONNECT-TIMEOUT",
        template("The {where} does not answer within 5 seconds."),
        template("Check the address, and that firewalls and security groups let this machine reach port {port}."),
        True,
    ),
    Reason.SILENT: (
        "CONNECT-TIMEOUT",
        template("The {where} accepts the connection but does not answer within 5 seconds."),
        template(
            "Check that PostgreSQL itself listens on port {port}, and that no proxy in between holds the connection."
        ),
        True,
    ),
    Reason.UNREACHABLE: (
        "CONNECT-UNREACHABLE",
        template("There is no way to the {where}: {words}."),
        template("Check the address and the route or VPN between this machine and the {side}."),
        True,
    ),
    Reason.NOT_POSTGRES: (
        "NOT-POSTGRES",
        template("What answers at the {where} is not PostgreSQL: {words}."),
        template("Check the port; PostgreSQL usually listens on 5432."),
        True,  # a line that is cut in the middle of the login, or a proxy whose server is away, look like this
    ),
    Reason.TLS_NONE: (
        "TLS-REFUSED",
        template("The {where} does not offer TLS, but the connection asks for it."),
        template("Switch TLS on at the server (ssl = on), or choose Off for TLS if the network is trusted."),
        False,
    ),
    Reason.TLS_FAILED: (
        "TLS-FAILED",
        template("TLS with the {where} failed: {words}."),
        template("Check the certificate's host name, issuer and dates, and the CA certificate entered here."),
        False,
    ),
    Reason.TLS_SELF_SIGNED: (
        "TLS-SELF-SIGNED",
        template("The {where} shows a self-signed certificate that nothing here vouches for: {words}."),
        template("Enter that certificate, or its issuer's, as the CA certificate here."),
        False,
    ),
    Reason.TLS_ISSUER: (
        "TLS-UNKNOWN-CA",
        template("The certificate of the {where} was issued by somebody else than the CA entered here: {words}."),
        template("Enter the certificate of the authority that issued the {side}'s certificate, in PEM form."),
        False,
    ),
    Reason.TLS_NAME: (
        "TLS-NAME",
        template("The certificate of the {where} is for another name: {words}."),
        template(
            "Enter the name that the certificate carries as the {side}'s address, or have a "
            "certificate issued for {host}."
        ),
        False,
    ),
    Reason.TLS_EXPIRED: (
        "TLS-EXPIRED",
        template("The certificate of the {where} is not valid today: {words}."),
        template("Renew the {side}'s certificate, and look at the clocks of both machines."),
        False,
    ),
    Reason.TLS_CLIENT: (
        "TLS-CLIENT-CERT",
        template("The {where} does not accept our client certificate, or asks for one: {words}."),
        template("Enter the client certificate and key that the {side} knows; its ssl_ca_file must hold their issuer."),
        False,
    ),
    Reason.TLS_FILES: (
        "TLS-FILES",
        template("TLS with the {where} cannot begin: {words}."),
        template("Enter certificates and key in PEM form; the key without a passphrase."),
        False,
    ),
    Reason.POLICY: (
        "POLICY-DENIED",
        template(
            "The address {address} (for the {side}) is not allowed by this installation's policy. Nothing was dialled."
        ),
        template("Use another address, or ask an administrator to allow it (TOWPATH_ALLOW_ADDRESSES)."),
        False,
    ),
    Reason.AUTH_NONE: (
        "AUTH-NONE",
        template(
            "The {where} lets the account {user} in without asking for its password: it could be anybody's server."
        ),
        template(
            "In the {side}'s pg_hba.conf use scram-sha-256 (md5 before PostgreSQL 10) instead of trust: the account "
            "needs a password then, set while password_encryption is scram-sha-256 where the server knows that. Or "
            "choose to accept any way of signing in."
        ),
        False,
    ),
    Reason.AUTH_WEAK: (
        "AUTH-WEAK",
        template("The {where} asks for {words} of {user}, which shows too much of it and is not sent."),
        template(
            "On the {side} set password_encryption = 'scram-sha-256', set the account's password "
            "anew, and use scram-sha-256 in pg_hba.conf. A server before PostgreSQL 10 has no better method: choose "
            "to accept any password method."
        ),
        False,
    ),
    Reason.SSH_KEY_UNKNOWN: (
        "SSH-HOST-KEY-UNKNOWN",
        template("The SSH host {ssh} shows a key that nobody has confirmed yet: {is}."),
        template("Compare the fingerprint with the one that the host's administrator knows, then confirm it."),
        False,
    ),
    Reason.SSH_KEY_CHANGED: (
        "SSH-HOST-KEY-CHANGED",
        template(
            "The SSH host {ssh} shows another key than the one confirmed: it was {was} and is {is}. Nothing was sent."
        ),
        template(
            "Somebody may be in between. When the host was really set up anew, remove the confirmed "
            "key and confirm again."
        ),
        False,
    ),
    Reason.SSH_LOGIN: (
        "SSH-LOGIN",
        template("The SSH host {ssh} does not let the user {ssh_user} in: {words}."),
        template("Check the SSH user and its password or private key (OpenSSH or PEM form, without a passphrase)."),
        False,
    ),
    Reason.SSH_UNREACHABLE: (
        "SSH-UNREACHABLE",
        template("The SSH host {ssh} cannot be reached: {words}."),
        template("Check its address and port, and that firewalls let this machine reach it."),
        True,
    ),
    Reason.SSH_FORWARD: (
        "SSH-FORWARD",
        template("The SSH host {ssh} refuses to forward connections to {host}:{port}: {words}."),
        template("In its sshd_config set AllowTcpForwarding yes, and PermitOpen so that it names {host}:{port}."),
        False,
    ),
    Reason.SSH_BEYOND: (
        "CONNECT-UNREACHABLE",
        template("The SSH host {ssh} is reached, but it cannot connect to the {where}: {words}."),
        template("Enter the {side}'s address as the SSH host sees it, and check that PostgreSQL listens there."),
        True,
    ),
    Reason.PASSWORD_NEEDED: (
        "PASSWORD-NEEDED",
        template("The {where} asks for the password of {user}, and none was given."),
        template("Enter the account's password."),
        False,
    ),
    Reason.AUTH_METHOD: (
        "AUTH-UNSUPPORTED",
        template("The {where} asks the account {user} for {words}, which is not sent."),
        template(
            "In the {side}'s pg_hba.conf use a password for this account: the method scram-sha-256 (md5 before "
            "PostgreSQL 10), or md5 where the account's password may be kept as md5 still."
        ),
        False,
    ),
}

_STARTING = (
    "CONNECT-STARTING",
    template("The {where} is starting up or shutting down: {words}"),
    template("Wait until the server is up, then try again."),
    True,
)
STATES: dict[str, tuple[str, str, str, bool]] = {
    "28P01": (
        "AUTH-FAILED",
        template("The {where} refused the account {user}: user name or password is wrong."),
        template(
            "Enter the password again, and check the account's name, and that its password has not expired (ALTER ROLE"
            " ... VALID UNTIL): the server tells none of these from another."
        ),
        False,
    ),
    "28000": (
        "HBA-REFUSED",
        template("The {where} does not let the account {user} in from here: {words}"),
        template(
            "Add a line for this account, database {database} and this machine's address to the "
            "{side}'s pg_hba.conf, then run SELECT pg_reload_conf()."
        ),
        False,
    ),
    "28000+": (
        "AUTH-FAILED",
        template("The {where} refused the account {user}: {words}"),
        template("Check that the account exists and may log in (ALTER ROLE ... LOGIN)."),
        False,
    ),
    "3D000": (
        "DATABASE-MISSING",
        template("There is no database {database} on the {where}."),
        template("Check the database's name; upper and lower case are different."),
        False,
    ),
    "42501": (
        "RIGHTS-MISSING",
        template("The account {user} may not connect to the database {database} on the {where}: {words}"),
        template("Grant the missing right on the {side}, or use another account."),
        False,
    ),
    "55000": (
        "DATABASE-CLOSED",
        template("The database {database} on the {where} does not accept connections: {words}"),
        template(
            "Open it with ALTER DATABASE ... ALLOW_CONNECTIONS true (before 9.5: UPDATE pg_database SET datallowconn ="
            " true, as a superuser), or choose another database."
        ),
        False,
    ),
    "53300": (
        "CONNECT-FULL",
        template("The {where} has no connection left: {words}"),
        template("Close idle sessions on the {side}, or raise max_connections or the account's limit."),
        True,
    ),
    "57P01": _STARTING,
    "57P02": _STARTING,
    "57P03": _STARTING,
    "08P01": (
        "POOLER-REFUSED",
        template("The {where} refuses session settings, as connection poolers do: {words}"),
        template("Enter the address of the PostgreSQL server itself instead of the pooler's."),
        False,
    ),
    "P0001": (
        "CONNECT-FAILED",
        template("The {where} refused the connection: {words} ({state})"),
        template(
            "An event trigger ON login says so. Exempt this account in its function, or disable the trigger; a"
            " superuser gets in for that with PGOPTIONS='-c event_triggers=off'."
        ),
        False,
    ),
    "": (
        "CONNECT-FAILED",
        template("The {where} refused the connection: {words} ({state})"),
        template("Look into the server's log for the reason."),
        False,
    ),
}
"""By SQLSTATE; `28000+` when the password had been accepted already."""
