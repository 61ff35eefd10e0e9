"""The table of commands: all nouns, in the order of the help."""

from vastsky_client.command import cluster, events, plans, servers, shells, volumes, webhooks, work
from vastsky_client.command.table import Command, Noun

NOUNS: tuple[Noun, ...] = (
    volumes.VOLUME,
    volumes.SNAPSHOT,
    servers.SERVER,
    servers.DISK_NOUN,
    work.JOB,
    events.EVENT,
    webhooks.WEBHOOK,
    plans.PLAN,
    work.EVACUATION,
    work.MAINTENANCE,
    work.SCRUB,
    cluster.TOKEN,
    cluster.BACKUP,
    cluster.CLUSTER,
    shells.COMPLETION,
)
COMMANDS: dict[tuple[str, str], Command] = {
    (command.noun, command.verb): command for noun in NOUNS for command in noun.commands
}
