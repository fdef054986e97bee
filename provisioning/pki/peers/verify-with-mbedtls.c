/*
 * verify-with-mbedtls ROOT.pem CHAIN.pem CRLS.pem: what mbedTLS, the TLS of many microcontrollers, makes of a chain and its revocation
 * lists. Prints nothing and ends with 0 when it accepts; else prints its complaints and ends with 1.
 */
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    mbedtls_x509_crt root, chain;
    mbedtls_x509_crl lists;
    uint32_t flags = 0;
    char complaint[1024];

    mbedtls_x509_crt_init(&root);
    mbedtls_x509_crt_init(&chain);
    mbedtls_x509_crl_init(&lists);
    if (argc != 4 || mbedtls_x509_crt_parse_file(&root, argv[1]) != 0 ||
        mbedtls_x509_crt_parse_file(&chain, argv[2]) != 0 ||
        mbedtls_x509_crl_parse_file(&lists, argv[3]) != 0) {
        puts("cannot be parsed");
        return 2;
    }
    if (mbedtls_x509_crt_verify(&chain, &root, &lists, NULL, &flags, NULL, NULL) == 0) return 0;
    mbedtls_x509_crt_verify_info(complaint, sizeof complaint, "", flags);
    fputs(complaint, stdout);
    return 1;
}
