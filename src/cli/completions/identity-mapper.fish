# Completion of identity-mapper for fish: identity-mapper completions fish | source
function __identity_mapper_complete
    set -l words (commandline -opc) (commandline -ct)
    for answer in ($words[1] __complete -- $words[2..-1] 2>/dev/null)
        switch $answer
            case :0
                __fish_complete_path (commandline -ct)
            case ':*'
            case '*'
                echo $answer
        end
    end
end
complete -c identity-mapper -f -a '(__identity_mapper_complete)'
complete -c kubectl-idmap -f -a '(__identity_mapper_complete)'
