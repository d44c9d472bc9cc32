"""Keys of systemd (systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.resource-control(5)) that this version
knows only to say that it does not act on them.
"""

UNIT = """
PartOf Requisite Upholds Conflicts OnFailure OnSuccess PropagatesReloadTo StopWhenUnneeded RefuseManualStart
RefuseManualStop AllowIsolate DefaultDependencies JobTimeoutSec StartLimitAction FailureAction SuccessAction
RequiresMountsFor JoinsNamespaceOf IgnoreOnIsolate SourcePath CollectMode ConditionPathExists ConditionFileNotEmpty
ConditionHost ConditionKernelCommandLine ConditionVirtualization AssertPathExists
"""
SERVICE = """
ExecReload ExecCondition PIDFile BusName GuessMainPID NotifyAccess WatchdogSec RuntimeMaxSec Sockets Group
SupplementaryGroups DynamicUser PermissionsStartOnly RootDirectory UMask Nice OOMScoreAdjust OOMPolicy
IOSchedulingClass CPUSchedulingPolicy LimitNOFILE LimitNPROC LimitCORE LimitMEMLOCK LimitAS StandardInput
StandardOutput StandardError SyslogIdentifier TTYPath PassEnvironment UnsetEnvironment CapabilityBoundingSet
AmbientCapabilities NoNewPrivileges PrivateTmp PrivateDevices PrivateNetwork PrivateUsers ProtectSystem ProtectHome
ProtectKernelTunables ProtectKernelModules ProtectControlGroups ReadWritePaths ReadOnlyPaths InaccessiblePaths
RestrictAddressFamilies RestrictNamespaces SystemCallFilter MemoryDenyWriteExecute RuntimeDirectory StateDirectory
CacheDirectory LogsDirectory ConfigurationDirectory Slice Delegate MemoryMax MemoryHigh MemoryLimit CPUQuota
CPUWeight CPUShares TasksMax IOWeight BlockIOWeight KeyringMode SendSIGKILL SendSIGHUP FinalKillSignal
RestartKillSignal TimeoutAbortSec TimeoutStopFailureMode RestartForceExitStatus RestartSteps RestartMaxDelaySec
FileDescriptorStoreMax LoadCredential
"""

UNSUPPORTED = {"Unit": frozenset(UNIT.split()), "Service": frozenset(SERVICE.split())}
