// The least that is a device: a measurement, a relay, one command. holdfast.h and holdfast.c lie beside this file.
#include <EEPROM.h>
#include "holdfast.h"

static hf_leaf leaves[] = {{"relay", {HF_BOOL, 0, {0}}, 0, 0}};
static char boot[11];
static uint32_t measuredMs;

static void send(void *, uint8_t byte) { Serial.write(byte); }
static uint32_t nowMs(void *) { return millis(); }

static void onDelta(void *, hf_leaf *leaf, const hf_value *wanted) {
  if (wanted->kind != HF_BOOL) return; // it stays as it is, and the site sees that
  digitalWrite(8, wanted->as.number ? HIGH : LOW);
  leaf->value = *wanted;
}

static hf_status onCommand(void *, uint8_t, hf_slice type, hf_slice, hf_value *result) {
  if (!hf_is(type, "uptime")) return HF_REJECTED;
  *result = hf_number(millis() / 1000, 0);
  return HF_SUCCEEDED;
}

static const hf_config config = {
  "cabinet-1", "cabinet", "1.2.0", boot, leaves, 1, nullptr, send, nowMs, onDelta, onCommand, nullptr, nullptr
};

void setup() {
  uint32_t count = 0;
  EEPROM.get(4, count);
  EEPROM.put(4, ++count); // another boot after each start
  ultoa(count, boot, 10);
  pinMode(8, OUTPUT);
  Serial.begin(115200);
  hf_open(&config);
}

void loop() {
  while (Serial.available()) hf_receive(Serial.read());
  hf_poll();
  if (millis() - measuredMs >= 2000) {
    measuredMs += 2000;
    hf_measure("voltage", hf_number(analogRead(A0) * 625L >> 7, 3)); // 5 V are 1024
  }
}
