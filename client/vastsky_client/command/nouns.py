"""The table of commands: all nouns, in the order of the help."""

from vastsky_client.command import (
    cluster_commands,
    event_commands,
    plan_commands,
    server_commands,
    shells,
    volume_commands,
    webhook_commands,
    work_commands,
)
from vastsky_client.command.table import Command, Noun

NOUNS: tuple[Noun, ...] = (
    volume_commands.VOLUME,
    volume_commands.SNAPSHOT,
    server_commands.SERVER,
    server_commands.DISK_NOUN,
    work_commands.JOB,
    event_commands.EVENT,
    webhook_commands.WEBHOOK,
    plan_commands.PLAN,
    work_commands.EVACUATION,
    work_commands.MAINTENANCE,
    work_commands.SCRUB,
    cluster_commands.TOKEN,
    cluster_commands.BACKUP,
    cluster_commands.CLUSTER,
    shells.COMPLETION,
)
COMMANDS: dict[tuple[str, str], Command] = {
    (command.noun, command.verb): command for noun in NOUNS for command in noun.commands
}
