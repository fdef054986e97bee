/*
 * A unit of a Modbus by libmodbus, number 17, with 125 registers: what this and mbpoll are measured at.
 *
 *   modbus-slave rtu TERMINAL BAUD | modbus-slave tcp PORT
 *
 * Says `ready` once it listens; ends with its terminal, or when it is told to.
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UNIT = 17, REGISTERS = 125 };

int main(int count, char **arguments) {
  if (count < 3) return 2;
  int is_tcp = strcmp(arguments[1], "tcp") == 0;
  modbus_t *bus = is_tcp ? modbus_new_tcp("127.0.0.1", atoi(arguments[2])) : modbus_new_rtu(arguments[2], atoi(arguments[3]), 'E', 8, 1);
  modbus_mapping_t *map = modbus_mapping_new(0, 0, REGISTERS, REGISTERS);
  if (bus == NULL || map == NULL) return 1;
  for (int i = 0; i < REGISTERS; i++) map->tab_registers[i] = (uint16_t)i;
  modbus_set_slave(bus, UNIT);
  int listener = is_tcp ? modbus_tcp_listen(bus, 1) : -1;
  if (is_tcp ? listener < 0 : modbus_connect(bus) != 0) {
    perror("modbus-slave");
    return 1;
  }
  puts("ready");
  fflush(stdout);
  uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
  for (;;) {
    if (is_tcp && modbus_tcp_accept(bus, &listener) < 0) return 1;
    for (;;) {
      int length = modbus_receive(bus, query);
      if (length > 0) modbus_reply(bus, query, length, map);
      else if (length < 0 && (is_tcp || errno == EIO || errno == EBADF)) break;
    }
    if (!is_tcp) return 0;
    modbus_close(bus);
  }
}
