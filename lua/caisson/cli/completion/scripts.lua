-- What bash, zsh and fish are told to complete the caisson command by: each asks the command itself.
local M = {}

M.bash = [==[
# caisson's completion for bash. In ~/.bashrc: eval "$(caisson completion bash)"
_caisson() {
    # bash takes a line's words apart at "=" and ":"; put them together again, as they stand
    local line=${COMP_LINE:0:COMP_POINT} words=() word i gap
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        gap=${line%%[![:space:]]*}
        line=${line#"$gap"}
        ((i == COMP_CWORD)) && word=$line
        line=${line#"$word"}
        if ((i > 0)) && [[ -z $gap && -n ${words[*]} ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
    done
    local whole=${words[${#words[@]}-1]}
    # what bash replaces is what stands behind the last of them
    local typed=${whole##*[=:]} head
    head=${whole%"$typed"}
    COMPREPLY=()
    local answer files='' directories='' program=''
    # quotes and backslashes are the shell's
    local asked=("${words[@]:1}")
    for i in "${!asked[@]}"; do
        asked[i]=${asked[i]//[\"\'\\]/}
    done
    while IFS= read -r answer; do
        case $answer in
            :files) files=1 ;;
            :directories) directories=1 ;;
            :open) compopt -o nospace ;;
            :program\ *) program=${answer#:program } ;;
            *)
                answer=${answer%%$'\t'*}
                COMPREPLY+=("${answer#"$head"}")
                ;;
        esac
    done < <("${words[0]}" completion --line -- "${asked[@]}" 2>/dev/null)
    if [[ -n $program ]]; then
        if declare -F _command_offset >/dev/null; then
            # an index of COMP_WORDS, which may be more than ours
            for ((i = 1; i < COMP_CWORD; i++)); do
                [[ ${COMP_WORDS[i]} == -- ]] && break
            done
            _command_offset $((i + 1))
        elif ((${#words[@]} - 1 == program)); then
            COMPREPLY=($(compgen -c -- "$typed"))
        else
            compopt -o filenames
            COMPREPLY=($(compgen -f -- "$typed"))
        fi
        return
    fi
    local IFS=$'\n'
    if [[ -n $directories ]]; then
        compopt -o filenames
        COMPREPLY+=($(compgen -d -- "$typed"))
    elif [[ -n $files ]]; then
        compopt -o filenames
        COMPREPLY+=($(compgen -f -- "$typed"))
    fi
}
complete -F _caisson caisson
]==]

M.zsh = [==[
#compdef caisson
# caisson's completion for zsh: a file _caisson in $fpath, or in ~/.zshrc: eval "$(caisson completion zsh)"
_caisson() {
    local answer name about files directories program
    local -a plain open asked
    asked=("${(@Q)words[2,CURRENT]}")
    local opened=0
    while IFS= read -r answer; do
        case $answer in
            :files) files=1 ;;
            :directories) directories=1 ;;
            :open) opened=1 ;;
            :program\ *) program=${answer#:program } ;;
            *)
                name=${answer%%$'\t'*}
                about=${answer#"$name"}
                name=${name//:/\\:}
                plain+=("$name${about:+:${about#$'\t'}}")
                ;;
        esac
    done < <("${(Q)words[1]}" completion --line -- "${asked[@]}" 2>/dev/null)
    if [[ -n $program ]]; then
        shift $program words
        (( CURRENT -= program ))
        _normal
        return
    fi
    local ret=1
    if (( ${#plain} )); then
        if (( opened )); then
            _describe -t values caisson plain -S '' && ret=0
        else
            _describe -t values caisson plain && ret=0
        fi
    fi
    if [[ -n $files$directories ]]; then
        [[ $PREFIX == *=* ]] && compset -P '*='
        if [[ -n $directories ]]; then
            _files -/ && ret=0
        else
            _files && ret=0
        fi
    fi
    return ret
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _caisson "$@"
else
    compdef _caisson caisson
fi
]==]

M.fish = [==[
# caisson's completion for fish: ~/.config/fish/completions/caisson.fish, or: caisson completion fish | source
function __caisson_complete
    set -l words (commandline -opc)
    set -l token (commandline -ct)
    set -l command $words[1]
    set -e words[1]
    set -l head (string match -r -- '^.*=' "$token")
    set -l typed (string replace -r -- '^.*=' '' "$token")
    for answer in ($command completion --line -- $words "$token" 2>/dev/null)
        switch $answer
            case ':files'
                for path in (__fish_complete_path "$typed")
                    echo -- "$head$path"
                end
            case ':directories'
                for path in (__fish_complete_directories "$typed" '')
                    echo -- "$head$path"
                end
            case ':open'
            case ':program *'
                # the words of a line of its own
                set -l from (string replace -- ':program ' '' $answer)
                set -l rest $words[$from..-1]
                complete -C (string join -- ' ' (string escape -- $rest) "$token")
            case '*'
                echo -- $answer
        end
    end
end
complete -c caisson -f -a '(__caisson_complete)'
]==]

return M
