{{- define "inboxgrove.fullname" -}}
{{- if contains "inboxgrove" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-inboxgrove" (.Release.Name | trunc 29 | trimSuffix "-") -}}
{{- end -}}
{{- end }}

{{- define "inboxgrove.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end }}

{{- define "inboxgrove.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "inboxgrove.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end }}

{{- /* Takes (list root component). What finds a pod and never changes. */ -}}
{{- define "inboxgrove.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: inboxgrove
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "inboxgrove.labels" -}}
{{- $root := index . 0 -}}
{{ include "inboxgrove.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{- /* What Prometheus' rules call this process. */ -}}
{{- define "inboxgrove.jobLabel" -}}
inboxgrove.io/job: inboxgrove-{{ . }}
{{- end }}

{{- define "inboxgrove.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "inboxgrove.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "inboxgrove.secret" -}}
{{- required "secrets.existingSecret must name a Secret with the settings that are secret (.env.example)" .Values.secrets.existingSecret -}}
{{- end }}

{{- define "inboxgrove.internalHost" -}}
{{- printf "%s-internal.%s.svc" (include "inboxgrove.fullname" .) .Release.Namespace -}}
{{- end }}

{{- define "inboxgrove.nodeURLs" -}}
{{- $name := printf "%s-kumomta" (include "inboxgrove.fullname" .) -}}
{{- $urls := list -}}
{{- range until (int .Values.kumomta.replicas) -}}
{{- $urls = append $urls (printf "http://%s-%d.%s.%s.svc:8000" $name . $name $.Release.Namespace) -}}
{{- end -}}
{{- join "," $urls -}}
{{- end }}

{{- /* Settings that are no secrets. They stand in the pods, so that a change of one starts new pods. */ -}}
{{- define "inboxgrove.env" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.kumomta.enabled -}}
{{- if not (hasKey $config "KUMO_ADMIN_URLS") -}}
{{- $_ := set $config "KUMO_ADMIN_URLS" (include "inboxgrove.nodeURLs" .) -}}
{{- end -}}
{{- if not (hasKey $config "MAIL_ZONE") -}}
{{- $_ := set $config "MAIL_ZONE" .Values.kumomta.mailZone -}}
{{- end -}}
{{- end -}}
{{- if not (hasKey $config "RELEASE") -}}
{{- /* What errors and traces are reported with. */ -}}
{{- $_ := set $config "RELEASE" (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- range $name, $value := $config }}
{{- /* YAML's numbers arrive as floats, and a million would be written 1e+06. */}}
{{- if and (kindIs "float64" $value) (eq $value (floor $value)) }}
{{- $value = int64 $value }}
{{- end }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
# The ports that probes, services and policies name, whatever else says.
- {name: API_HOST, value: "0.0.0.0"}
- {name: API_PORT, value: "8000"}
- {name: INTERNAL_PORT, value: "8002"}
- {name: METRICS_PORT, value: "9100"}
{{- end }}

{{- /* Takes (list root component settings). A pod of the product, up to its containers' probes and ports. */ -}}
{{- define "inboxgrove.podBasics" -}}
{{- $root := index . 0 -}}
serviceAccountName: {{ include "inboxgrove.serviceAccount" $root }}
{{ include "inboxgrove.anyPod" . }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "inboxgrove.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}

{{- /* Takes (list root component). */ -}}
{{- define "inboxgrove.anyPod" -}}
{{- $root := index . 0 -}}
automountServiceAccountToken: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "inboxgrove.podSecurity" $root | nindent 2 }}
volumes:
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: 64Mi}
  {{- if eq (index . 1) "backup" }}
  - name: backups
    persistentVolumeClaim: {claimName: {{ include "inboxgrove.backupClaim" $root }}}
  {{- end }}
{{- end }}

{{- define "inboxgrove.backupClaim" -}}
{{- .Values.backup.existingClaim | default (printf "%s-backups" (include "inboxgrove.fullname" .)) -}}
{{- end }}

{{- /* Takes (list root component settings). */ -}}
{{- define "inboxgrove.container" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
image: {{ include "inboxgrove.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- if eq (index . 1) "backup" }}
args: [ops, backup, /backups, --keep, {{ $root.Values.backup.keep | quote }}]
{{- else }}
args: [{{ index . 1 }}]
{{- end }}
envFrom:
  - secretRef: {name: {{ include "inboxgrove.secret" $root }}}
{{- if and (has (index . 1) (list "migrate" "backup")) $root.Values.secrets.migrationExistingSecret }}
  - secretRef: {name: {{ $root.Values.secrets.migrationExistingSecret }}}
{{- end }}
env:
  {{- include "inboxgrove.env" $root | trim | nindent 2 }}
{{- if eq (index . 1) "worker" }}
  - {name: WORKER_CONCURRENCY, value: {{ $root.Values.worker.concurrency | quote }}}
{{- end }}
securityContext:
  {{- include "inboxgrove.containerSecurity" $root | nindent 2 }}
resources:
  {{- toYaml (index . 2).resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if eq (index . 1) "backup" }}
  - {name: backups, mountPath: /backups}
  {{- end }}
{{- end }}

{{- /* Takes (list root component). */ -}}
{{- define "inboxgrove.podMeta" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "inboxgrove.labels" . | nindent 2 }}
  {{- include "inboxgrove.jobLabel" (index . 1) | nindent 2 }}
  {{- with $root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
