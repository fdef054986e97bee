/** What services, and those who speak no MQTT, may do with topics. Each row: who, verb, what, and the answer; how they are read stands in `access-table.test.ts`. */
export const accessOfOthers = String.raw`
# a service: publish dt/+/commands/#, plant/light; subscribe dt/#, +/x
# - what its policy grants
service     publish    dt/pump-1/commands/c1                allow
service     will       dt/pump-1/commands/c1                allow
service     subscribe  dt/pump-1/commands/c1                allow
service     receive    dt/pump-1/commands/c1                allow
service     publish    dt/pump-1/telemetry/flow             TOPIC_OUTSIDE_POLICY
service     will       dt/pump-1/telemetry/flow             TOPIC_OUTSIDE_POLICY
service     subscribe  dt/pump-1/telemetry/flow             allow
service     receive    dt/pump-1/telemetry/flow             allow
service     publish    plant/light                          allow
service     will       plant/light                          allow
service     subscribe  plant/light                          TOPIC_OUTSIDE_POLICY
service     receive    plant/light                          TOPIC_OUTSIDE_POLICY
service     publish    a/x                                  TOPIC_OUTSIDE_POLICY
service     will       a/x                                  TOPIC_OUTSIDE_POLICY
service     subscribe  a/x                                  allow
service     receive    a/x                                  allow
service     publish    a/b/x                                TOPIC_OUTSIDE_POLICY
service     will       a/b/x                                TOPIC_OUTSIDE_POLICY
service     subscribe  a/b/x                                TOPIC_OUTSIDE_POLICY
service     receive    a/b/x                                TOPIC_OUTSIDE_POLICY
# - a filter needs a grant that covers all of it
service     publish    dt/#                                 TOPIC_MALFORMED
service     will       dt/#                                 TOPIC_MALFORMED
service     subscribe  dt/#                                 allow
service     receive    dt/#                                 TOPIC_MALFORMED
service     publish    dt/pump-1/#                          TOPIC_MALFORMED
service     will       dt/pump-1/#                          TOPIC_MALFORMED
service     subscribe  dt/pump-1/#                          allow
service     receive    dt/pump-1/#                          TOPIC_MALFORMED
service     publish    +/x                                  TOPIC_MALFORMED
service     will       +/x                                  TOPIC_MALFORMED
service     subscribe  +/x                                  allow
service     receive    +/x                                  TOPIC_MALFORMED
service     publish    #                                    TOPIC_MALFORMED
service     will       #                                    TOPIC_MALFORMED
service     subscribe  #                                    TOPIC_OUTSIDE_POLICY
service     receive    #                                    TOPIC_MALFORMED
service     publish    +/+                                  TOPIC_MALFORMED
service     will       +/+                                  TOPIC_MALFORMED
service     subscribe  +/+                                  TOPIC_OUTSIDE_POLICY
service     receive    +/+                                  TOPIC_MALFORMED
service     publish    +/#                                  TOPIC_MALFORMED
service     will       +/#                                  TOPIC_MALFORMED
service     subscribe  +/#                                  TOPIC_OUTSIDE_POLICY
service     receive    +/#                                  TOPIC_MALFORMED
service     publish    a/#                                  TOPIC_MALFORMED
service     will       a/#                                  TOPIC_MALFORMED
service     subscribe  a/#                                  TOPIC_OUTSIDE_POLICY
service     receive    a/#                                  TOPIC_MALFORMED
service     publish    plant/+                              TOPIC_MALFORMED
service     will       plant/+                              TOPIC_MALFORMED
service     subscribe  plant/+                              TOPIC_OUTSIDE_POLICY
service     receive    plant/+                              TOPIC_MALFORMED
service     publish    dt                                   TOPIC_OUTSIDE_POLICY
service     will       dt                                   TOPIC_OUTSIDE_POLICY
service     subscribe  dt                                   allow
service     receive    dt                                   allow
service     publish    dt/a#                                TOPIC_MALFORMED
service     will       dt/a#                                TOPIC_MALFORMED
service     subscribe  dt/a#                                TOPIC_MALFORMED
service     receive    dt/a#                                TOPIC_MALFORMED
service     publish    d+/x                                 TOPIC_MALFORMED
service     will       d+/x                                 TOPIC_MALFORMED
service     subscribe  d+/x                                 TOPIC_MALFORMED
service     receive    d+/x                                 TOPIC_MALFORMED
# - reserved topics and shared subscriptions
service     publish    $SYS/x                               TOPIC_RESERVED
service     will       $SYS/x                               TOPIC_RESERVED
service     subscribe  $SYS/x                               TOPIC_RESERVED
service     receive    $SYS/x                               TOPIC_RESERVED
service     publish    $aws/things/a                        TOPIC_RESERVED
service     will       $aws/things/a                        TOPIC_RESERVED
service     subscribe  $aws/things/a                        TOPIC_RESERVED
service     receive    $aws/things/a                        TOPIC_RESERVED
service     publish    $share/g/dt/#                        TOPIC_MALFORMED
service     will       $share/g/dt/#                        TOPIC_MALFORMED
service     subscribe  $share/g/dt/#                        allow
service     receive    $share/g/dt/#                        TOPIC_MALFORMED
service     publish    $share/g/a/x                         TOPIC_RESERVED
service     will       $share/g/a/x                         TOPIC_RESERVED
service     subscribe  $share/g/a/x                         allow
service     subscribe  $share/g/plant/light                 TOPIC_OUTSIDE_POLICY
service     subscribe  $share/g/$SYS/#                      TOPIC_RESERVED
service     subscribe  $share/g                             TOPIC_MALFORMED
service     subscribe  $share/+/dt/#                        TOPIC_MALFORMED
service     subscribe  $share//dt/#                         TOPIC_MALFORMED
service     receive    $share/g/a/x                         TOPIC_RESERVED
service     publish    $x/x                                 TOPIC_RESERVED
service     will       $x/x                                 TOPIC_RESERVED
service     subscribe  $x/x                                 TOPIC_RESERVED
service     receive    $x/x                                 TOPIC_RESERVED
# - NUL, nothing, too long, too deep
service     publish    (nothing)                            TOPIC_MALFORMED
service     will       (nothing)                            TOPIC_MALFORMED
service     subscribe  (nothing)                            TOPIC_MALFORMED
service     receive    (nothing)                            TOPIC_MALFORMED
service     publish    plant/light\0                        TOPIC_MALFORMED
service     will       plant/light\0                        TOPIC_MALFORMED
service     subscribe  plant/light\0                        TOPIC_MALFORMED
service     receive    plant/light\0                        TOPIC_MALFORMED
service     publish    dt/{x*1022}                          TOPIC_TOO_LONG
service     will       dt/{x*1022}                          TOPIC_TOO_LONG
service     subscribe  dt/{x*1022}                          TOPIC_TOO_LONG
service     receive    dt/{x*1022}                          TOPIC_TOO_LONG
service     publish    dt/{/*101}                           TOPIC_TOO_LONG
service     will       dt/{/*101}                           TOPIC_TOO_LONG
service     subscribe  dt/{/*101}                           TOPIC_TOO_LONG
service     receive    dt/{/*101}                           TOPIC_TOO_LONG

# a service that may everything but a/#
selective   publish    b/x                                  allow
selective   publish    a                                    TOPIC_OUTSIDE_POLICY
selective   publish    a/x                                  TOPIC_OUTSIDE_POLICY
selective   publish    !a/x                                 allow
selective   subscribe  a/x                                  TOPIC_OUTSIDE_POLICY
selective   subscribe  a/+                                  TOPIC_OUTSIDE_POLICY
selective   subscribe  $share/g/a/x                         TOPIC_OUTSIDE_POLICY
selective   subscribe  #                                    allow
selective   receive    a/x                                  TOPIC_OUTSIDE_POLICY
selective   receive    b/x                                  allow
# a service that may everything
# - everything but what is reserved
everything  publish    x                                    allow
everything  will       x                                    allow
everything  subscribe  x                                    allow
everything  receive    x                                    allow
everything  publish    __proto__                            allow
everything  will       __proto__                            allow
everything  subscribe  __proto__                            allow
everything  receive    __proto__                            allow
everything  publish    /                                    allow
everything  will       /                                    allow
everything  subscribe  /                                    allow
everything  receive    /                                    allow
everything  publish    #                                    TOPIC_MALFORMED
everything  will       #                                    TOPIC_MALFORMED
everything  subscribe  #                                    allow
everything  receive    #                                    TOPIC_MALFORMED
everything  publish    +/+                                  TOPIC_MALFORMED
everything  will       +/+                                  TOPIC_MALFORMED
everything  subscribe  +/+                                  allow
everything  receive    +/+                                  TOPIC_MALFORMED
everything  publish    $SYS/x                               TOPIC_RESERVED
everything  will       $SYS/x                               TOPIC_RESERVED
everything  subscribe  $SYS/x                               TOPIC_RESERVED
everything  receive    $SYS/x                               TOPIC_RESERVED
everything  publish    $aws/#                               TOPIC_MALFORMED
everything  will       $aws/#                               TOPIC_MALFORMED
everything  subscribe  $aws/#                               TOPIC_RESERVED
everything  receive    $aws/#                               TOPIC_MALFORMED
everything  publish    $share/g/#                           TOPIC_MALFORMED
everything  will       $share/g/#                           TOPIC_MALFORMED
everything  subscribe  $share/g/#                           allow
everything  receive    $share/g/#                           TOPIC_MALFORMED

# the serial line of pump-1
# - nothing of the kind
line        publish    dt/pump-1/telemetry/flow             NOT_OFFERED
line        will       dt/pump-1/telemetry/flow             NOT_OFFERED
line        subscribe  dt/pump-1/telemetry/flow             NOT_OFFERED
line        receive    dt/pump-1/telemetry/flow             NOT_OFFERED
line        publish    #                                    NOT_OFFERED
line        will       #                                    NOT_OFFERED
line        subscribe  #                                    NOT_OFFERED
line        receive    #                                    NOT_OFFERED

# a person
# - nothing of the kind
viewer      publish    dt/pump-1/telemetry/flow             NOT_OFFERED
viewer      will       dt/pump-1/telemetry/flow             NOT_OFFERED
viewer      subscribe  dt/pump-1/telemetry/flow             NOT_OFFERED
viewer      receive    dt/pump-1/telemetry/flow             NOT_OFFERED
viewer      publish    #                                    NOT_OFFERED
viewer      will       #                                    NOT_OFFERED
viewer      subscribe  #                                    NOT_OFFERED
viewer      receive    #                                    NOT_OFFERED

# nobody in particular
# - nothing of the kind
nobody      publish    dt/pump-1/telemetry/flow             NOT_OFFERED
nobody      will       dt/pump-1/telemetry/flow             NOT_OFFERED
nobody      subscribe  dt/pump-1/telemetry/flow             NOT_OFFERED
nobody      receive    dt/pump-1/telemetry/flow             NOT_OFFERED
nobody      publish    #                                    NOT_OFFERED
nobody      will       #                                    NOT_OFFERED
nobody      subscribe  #                                    NOT_OFFERED
nobody      receive    #                                    NOT_OFFERED
`;
