#compdef identity-mapper kubectl-idmap
# Completion of identity-mapper for zsh: source <(identity-mapper completions zsh)
_identity_mapper() {
  local -a answers values
  local answer value help
  answers=("${(@f)$("${(Q)words[1]}" __complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  for answer in "${answers[@]}"; do
    case $answer in
      :0) _files ;;
      :*) ;;
      *)
        value=${answer%%$'\t'*}
        help=${answer#$value}
        values+=("${value//:/\\:}${help:+:${help#$'\t'}}") ;;
    esac
  done
  (( ${#values} )) && _describe -V identity-mapper values
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -D }
compdef _identity_mapper identity-mapper kubectl-idmap
