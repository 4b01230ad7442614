#!/bin/sh
# Succeeds when JAVA_HOME or PATH has a Java of 17 or newer. `midgate up` looks in the same places.
for java in "${JAVA_HOME:+$JAVA_HOME/bin/java}" java; do
  [ -n "$java" ] || continue
  major=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${major:-0}" -ge 17 ] 2>/dev/null && exit 0
done
exit 1
