# Completion of identity-mapper for PowerShell: identity-mapper completions powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName identity-mapper, kubectl-idmap -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object { $_.ToString() })
    $program = $commandAst.CommandElements[0].ToString()
    $before = @($words | Select-Object -Skip 1)
    & $program __complete -- @before "$wordToComplete" 2>$null | Where-Object { $_ -notlike ':*' } | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
    }
}
