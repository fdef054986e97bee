/*
 * The client's receiver under streams of a test. In: 4 bytes length, little endian, and the stream, over and over; each finds a client just
 * opened. Out, for each: 4 bytes count, and each line that it took: 2 bytes length and its JSON. Ends with 1 when memory beside the client
 * was touched.
 */
#include <stdio.h>
#include <string.h>

#include "../holdfast.h"

static uint32_t now_ms(void *user) {
  (void)user;
  return 0;
}

static void send(void *user, uint8_t byte) {
  (void)user;
  (void)byte;
}

static void on_delta(void *user, hf_leaf *leaf, const hf_value *wanted) {
  char text[8];
  (void)user;
  (void)hf_copy_text(wanted, text, sizeof text);
  leaf->value = hf_number(wanted->as.number, wanted->decimals);
}

static hf_status on_command(void *user, uint8_t slot, hf_slice type, hf_slice payload, hf_value *result) {
  char text[8];
  (void)user;
  (void)slot;
  (void)hf_is(type, "restart");
  (void)hf_find(payload, "deep/value", result);
  (void)hf_copy_text(result, text, sizeof text);
  *result = hf_null();
  return HF_SUCCEEDED;
}

static bool read_all(void *to, size_t size) { return fread(to, 1, size, stdin) == size; }

static void put_count(uint32_t count, uint8_t bytes) {
  for (uint8_t i = 0; i < bytes; i++) (void)putchar((int)((count >> (8u * i)) & 255u));
}

int main(void) {
  static uint8_t stream[1 << 20];
  static char taken[1 << 20];
  uint8_t head[4];
  hf_leaf leaf = {.path = "a"};
  hf_config config = {.id = "pump-1", .model = "m", .version = "1", .boot = "b", .leaves = &leaf, .leaf_count = 1,
                      .send = send, .now_ms = now_ms, .on_delta = on_delta, .on_command = on_command};
  while (read_all(head, sizeof head)) {
    const uint32_t length = (uint32_t)head[0] | ((uint32_t)head[1] << 8) | ((uint32_t)head[2] << 16) | ((uint32_t)head[3] << 24);
    uint32_t count = 0;
    size_t used = 0;
    if ((length > sizeof stream) || !read_all(stream, length)) return 2;
    hf_open(&config);
    hf.state = HF_ONLINE;
    for (uint32_t i = 0; i < length; i++) {
      const uint16_t refused = hf.refused_lines;
      const bool is_line = (stream[i] == '\n') && (hf.line_length > 0u);
      hf_receive(stream[i]);
      hf_poll();
      if (hf.line_length >= HF_LINE_MAX) return 1;
      if (!is_line || (hf.refused_lines != refused)) continue;
      if ((used + 2u + hf.frame.length) > sizeof taken) return 2;
      taken[used++] = (char)(hf.frame.length & 255u);
      taken[used++] = (char)(hf.frame.length >> 8);
      (void)memcpy(&taken[used], hf.frame.at, hf.frame.length);
      used += hf.frame.length;
      count++;
    }
    put_count(count, 4);
    (void)fwrite(taken, 1, used, stdout);
    (void)fflush(stdout);
  }
  return 0;
}
