"""Completion: the scripts for bash, zsh and fish, and the words that they ask for.

The scripts call `vastsky --complete WORDS...`, whose last word is the one being typed.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence

from vastsky_client.command.session import Session
from vastsky_client.command.table import COMMON, Argument, Command, Noun

BASH = """\
_vastsky() {
    local IFS=$'\\n' word words=()
    # To bash SERVER:PATH is three words. What stands before the last colon is not replaced.
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if [[ ${#words[@]} -gt 0 && ( $word == :* || ${words[-1]} == *: ) ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    COMPREPLY=($(vastsky --complete "${words[@]}" 2>/dev/null))
    if [[ ${words[-1]} == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${words[-1]%:*}:"}")
    fi
}
complete -o default -F _vastsky vastsky
"""
ZSH = """\
#compdef vastsky
_vastsky() {
    local -a found
    found=("${(@f)$(vastsky --complete "${words[@]:1:$((CURRENT - 1))}" 2>/dev/null)}")
    [[ -n "$found" ]] && compadd -- "${found[@]}"
}
compdef _vastsky vastsky
"""
FISH = """\
function __vastsky
    vastsky --complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null
end
complete -c vastsky -f -a '(__vastsky)'
"""


def script(text: str) -> Callable[[Session, Namespace], str]:
    """Make what prints a script."""
    return lambda _session, _given: text


COMPLETION = Noun(
    "completion",
    "scripts by which a shell completes words",
    tuple(
        Command(
            "completion", shell, f"Print the script for {shell}.", f"completion {shell}",
            script(text), returns=str, line=str,
        )
        for shell, text in (("bash", BASH), ("zsh", ZSH), ("fish", FISH))
    ),
)  # fmt: skip


def complete(nouns: Sequence[Noun], words: Sequence[str], ask: Callable[[], Session]) -> list[str]:
    """Give what the last of these words may become."""
    *before, begun = words or [""]
    return sorted(word for word in _candidates(nouns, before, begun, ask) if word.startswith(begun))


def _candidates(
    nouns: Sequence[Noun], before: Sequence[str], begun: str, ask: Callable[[], Session]
) -> Iterable[str]:
    verbs: Mapping[str, Mapping[str, Command]] = {
        noun.name: {command.verb: command for command in noun.commands} for noun in nouns
    }
    if not before:
        return verbs
    if len(before) == 1:
        return verbs.get(before[0], {})
    command = verbs.get(before[0], {}).get(before[1])
    if command is None:
        return ()
    arguments = (*command.options(), *COMMON)
    return _values(arguments, before[2:], begun, ask)


def _values(
    arguments: Sequence[Argument], before: Sequence[str], begun: str, ask: Callable[[], Session]
) -> Iterable[str]:
    options = {argument.name: argument for argument in arguments if argument.is_option}
    last = options.get(before[-1]) if before else None
    if last is not None and not last.switch:
        return _suggested(last, ask)
    if begun.startswith("-"):
        told = (name for name, option in options.items() if not option.hidden)
        return (name for name in told if name not in before)
    places = [argument for argument in arguments if not argument.is_option]
    taken = len(_plain(before, options))
    if places and taken >= len(places) and places[-1].many:
        return _suggested(places[-1], ask)
    return _suggested(places[taken], ask) if taken < len(places) else ()


def _plain(before: Sequence[str], options: Mapping[str, Argument]) -> list[str]:
    """Leave out options and their values."""
    found, skip = [], False
    for word in before:
        option = options.get(word)
        if not skip and option is None and not word.startswith("--"):
            found.append(word)
        skip = option is not None and not option.switch
    return found


def _suggested(argument: Argument, ask: Callable[[], Session]) -> Iterable[str]:
    if argument.choices:
        return argument.choices
    return argument.suggest(ask()) if argument.suggest else ()
