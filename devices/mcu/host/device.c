/*
 * The client as a program of the host, for tests: the line is stdin and stdout, what its callbacks were told goes to stderr.
 *
 *   device ID BOOT INTERVAL_MS SPEED    a measurement each INTERVAL_MS; its clock runs SPEED times as fast
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../holdfast.h"

enum { RELAY, SPEED, LABEL, LEAVES };
static hf_leaf leaves[LEAVES];
static char label[24] = "none";
static uint8_t out[4096];
static size_t out_length;
static uint32_t speed = 1;
static int later = -1;
static uint32_t later_ms;

static uint32_t now_ms(void *user) {
  (void)user;
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  const uint64_t ms = ((uint64_t)now.tv_sec * 1000u) + ((uint64_t)now.tv_nsec / 1000000u);
  return (uint32_t)(ms * speed);
}

static void flush(void) {
  size_t from = 0;
  while (from < out_length) {
    const ssize_t wrote = write(STDOUT_FILENO, out + from, out_length - from);
    if (wrote <= 0) exit(0);
    from += (size_t)wrote;
  }
  out_length = 0;
}

static void send(void *user, uint8_t byte) {
  (void)user;
  out[out_length++] = byte;
  if (out_length == sizeof out) flush();
}

static void on_delta(void *user, hf_leaf *leaf, const hf_value *wanted) {
  (void)user;
  int32_t tenths = 0;
  if ((leaf == &leaves[RELAY]) && (wanted->kind == HF_BOOL)) leaf->value = *wanted;
  if ((leaf == &leaves[SPEED]) && hf_scaled(wanted, 1, &tenths)) leaf->value = hf_number(tenths, 1);
  if ((leaf == &leaves[LABEL]) && hf_copy_text(wanted, label, sizeof label)) leaf->value = hf_text(label);
  (void)fprintf(stderr, "delta %s %d\n", leaf->path, (int)wanted->kind);
}

static hf_status on_command(void *user, uint8_t slot, hf_slice type, hf_slice payload, hf_value *result) {
  (void)user;
  (void)fprintf(stderr, "command %.*s\n", (int)type.length, type.at);
  if (hf_is(type, "add")) {
    hf_value one, other;
    if (!hf_find(payload, "one", &one) || !hf_find(payload, "deep/other", &other)) return HF_FAILED;
    *result = hf_number(one.as.number + other.as.number, 0);
    return HF_SUCCEEDED;
  }
  if (hf_is(type, "slow")) {
    later = slot;
    later_ms = now_ms(NULL);
    return HF_LATER;
  }
  *result = hf_text("not \"known\"");
  return HF_REJECTED;
}

static void on_bootloader(void *user) {
  (void)user;
  (void)fprintf(stderr, "bootloader\n");
}

static void on_time(void *user) {
  (void)user;
  uint32_t epoch_s;
  const bool is_trusted = hf_time(&epoch_s);
  (void)fprintf(stderr, "time %lu %d\n", (unsigned long)epoch_s, (int)is_trusted);
}

int main(int count, char **arguments) {
  if (count != 5) return 2;
  hf_config config = {.id = arguments[1], .model = "host", .version = "1.0.0", .boot = arguments[2],
                      .leaves = leaves, .leaf_count = LEAVES, .send = send, .now_ms = now_ms, .on_delta = on_delta,
                      .on_command = on_command, .on_bootloader = on_bootloader, .on_time = on_time};
  const uint32_t interval_ms = (uint32_t)atoi(arguments[3]);
  speed = (uint32_t)atoi(arguments[4]);
  leaves[RELAY].path = "relay";
  leaves[RELAY].value = hf_bool(false);
  leaves[SPEED].path = "pump/speed";
  leaves[SPEED].value = hf_number(0, 1);
  leaves[LABEL].path = "label";
  leaves[LABEL].value = hf_text(label);
  hf_open(&config);
  uint32_t measured_ms = now_ms(NULL);
  int state = -1;
  bool has_begun = false;
  for (;;) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&in, 1, 2) > 0) {
      uint8_t bytes[256];
      const ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
      if (got <= 0) return 0;
      for (ssize_t i = 0; i < got; i++) hf_receive(bytes[i]);
    }
    if (has_begun && (interval_ms > 0u) && ((now_ms(NULL) - measured_ms) >= (interval_ms * speed))) {
      measured_ms += interval_ms * speed;
      hf_measure("level", hf_number(-(int32_t)hf.seq * 5, 2));
    }
    if ((later >= 0) && ((now_ms(NULL) - later_ms) > 500u)) {
      hf_finish((uint8_t)later, HF_SUCCEEDED, hf_text("done"));
      later = -1;
    }
    if (state != (int)hf.state) {
      state = (int)hf.state;
      if ((state == (int)HF_ONLINE) && !has_begun) { /* what is measured before may have to be dropped */
        has_begun = true;
        measured_ms = now_ms(NULL);
      }
      (void)fprintf(stderr, "state %d\n", state);
    }
    hf_poll();
    flush();
  }
}
