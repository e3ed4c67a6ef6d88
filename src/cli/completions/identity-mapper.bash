# Completion of identity-mapper for bash: source <(identity-mapper completions bash)
_identity_mapper() {
  # bash cuts words also at = and :, so the line is cut anew, and what bash takes for done is taken off the answers.
  local line=${COMP_LINE:0:COMP_POINT} words current rest answer name
  read -ra words <<<"$line"
  case $line in *[[:space:]]) words+=("") ;; esac
  current=${words[${#words[@]} - 1]}
  rest=${current##*[=:]}
  COMPREPLY=()
  while IFS= read -r answer; do
    case $answer in
      :0)
        # bash 3, as macOS has it, knows no compopt.
        type compopt &>/dev/null && compopt -o filenames
        while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$rest") ;;
      :*) ;;
      *)
        answer=${answer%%$'\t'*}
        COMPREPLY+=("${answer#"${current%"$rest"}"}") ;;
    esac
  done < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _identity_mapper identity-mapper kubectl-idmap
