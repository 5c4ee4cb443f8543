# fish completion for secretlet; `secretlet internal-complete` knows the words.
function __secretlet_complete
    set -l program (commandline -opc)[1]
    set -l before (commandline -opc)[2..-1]
    set -l current (commandline -ct)
    for line in ($program internal-complete -- $before "$current" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path (string replace -r '^-[^=]*=' '' -- $current)
            case :dirs
                __fish_complete_directories (string replace -r '^-[^=]*=' '' -- $current)
            case '*'
                echo $line
        end
    end
end
complete -c secretlet -f -a '(__secretlet_complete)'
