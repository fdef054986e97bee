/*
 * A unit by libmodbus, for the tests with real peers: unit 17 on a serial line (19,200 baud, even parity), or on a TCP port.
 *
 *   cc libmodbus-unit.c -o libmodbus-unit $(pkg-config --cflags --libs libmodbus)
 *   ./libmodbus-unit PATH|PORT [LATE_MS EVERY]
 *
 * Holding registers hold 1000 + address, input registers 2000 + address; holding registers from 60 on the number 230.5 in each order of
 * bytes. Every so many answers one comes late. Writes "ready" when it can be asked.
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { count = 100, unit = 17 };

static int serve(modbus_t *bus, modbus_mapping_t *map, int late_ms, int every) {
  static int answers = 0;
  uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
  for (;;) {
    int length = modbus_receive(bus, request);
    if (length > 0) {
      answers += 1;
      if (every > 0 && answers % every == 0) usleep((useconds_t)late_ms * 1000);
      modbus_reply(bus, request, length, map);
    } else if (length < 0) {
      /* What was not understood is left behind; a line that is gone is not. */
      if (errno == EIO || errno == EBADF || errno == ECONNRESET) return errno;
      modbus_flush(bus);
    }
  }
}

int main(int argc, char **argv) {
  if (argc < 2) return 64;
  int late_ms = argc > 3 ? atoi(argv[2]) : 0, every = argc > 3 ? atoi(argv[3]) : 0;
  modbus_mapping_t *map = modbus_mapping_new(count, count, count, count);
  for (int i = 0; i < count; i++) {
    map->tab_registers[i] = (uint16_t)(1000 + i);
    map->tab_input_registers[i] = (uint16_t)(2000 + i);
    map->tab_input_bits[i] = i & 1;
  }
  /* 230.5 is 43 66 80 00. Not by modbus_set_float_abcd and its like, which mean another order in each release of libmodbus. */
  static const uint16_t floats[] = {0x4366, 0x8000, 0x8000, 0x4366, 0x6643, 0x0080, 0x0080, 0x6643};
  for (int i = 0; i < 8; i++) map->tab_registers[60 + i] = floats[i];
  if (argv[1][0] == '/') {
    modbus_t *bus = modbus_new_rtu(argv[1], 19200, 'E', 8, 1);
    modbus_set_slave(bus, unit);
    if (modbus_connect(bus) != 0) {
      perror(argv[1]);
      return 1;
    }
    puts("ready");
    fflush(stdout);
    return serve(bus, map, late_ms, every);
  }
  modbus_t *bus = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
  modbus_set_slave(bus, unit);
  int listener = modbus_tcp_listen(bus, 1);
  if (listener < 0) {
    perror(argv[1]);
    return 1;
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    if (modbus_tcp_accept(bus, &listener) < 0) return 1;
    serve(bus, map, late_ms, every);
    modbus_close(bus);
  }
}
