/* Debian 12 links OpenSMTPD 6.8 with OpenSSL 3, and since then its TLS handshakes fail: it marks the key with the
 * name of its certificate on what OpenSSL 3 hands out as a copy (OpenSMTPD issue 1171, mended in 7.3). Preloaded,
 * this puts the marked copy in place of the key. RSA keys only. Opaque pointers, so that no headers are needed. */
#define _GNU_SOURCE
#include <dlfcn.h>

void *EVP_PKEY_get1_RSA(void *key);
int EVP_PKEY_set1_RSA(void *key, void *rsa);
void RSA_free(void *rsa);

int SSL_CTX_use_PrivateKey(void *context, void *key)
{
    int (*real)(void *, void *) = (int (*)(void *, void *))dlsym(RTLD_NEXT, "SSL_CTX_use_PrivateKey");
    void *marked = EVP_PKEY_get1_RSA(key);

    if (marked) {
        EVP_PKEY_set1_RSA(key, marked);
        RSA_free(marked);
    }
    return real(context, key);
}
