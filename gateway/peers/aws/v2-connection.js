/** The connection of a device on version 2 of the SDK, over MQTT 3.1.1 or 5, as its examples make it. */
import { once } from 'node:events';
import sdk from 'aws-iot-device-sdk-v2';

const { iot, iotshadow, iotjobs, mqtt, mqtt5 } = sdk;

export const qos = mqtt.QoS.AtLeastOnce;

/** `clients` are made of the classes of the SDK; `connect` resolves with whether the session was there. */
export const connectionOf = (options, tell) =>
  options.protocol === 5 ? overMqtt5(options, tell) : overMqtt311(options, tell);

const requestOptions = {
  maxRequestResponseSubscriptions: 20,
  maxStreamingSubscriptions: 8,
  operationTimeoutInSeconds: 15,
};

const overMqtt311 = ({ host, port, ca, cert, key, clientId, clean }, tell) => {
  const config = iot.AwsIotMqttConnectionConfigBuilder.new_mtls_builder(cert, key)
    .with_certificate_authority(ca)
    .with_endpoint(host)
    .with_port(port)
    .with_client_id(clientId)
    .with_clean_session(clean)
    .with_reconnect_min_sec(1)
    .with_reconnect_max_sec(1)
    .build();
  const connection = new mqtt.MqttClient().new_connection(config);
  connection.on('interrupt', () => tell({ event: 'interrupted' }));
  connection.on('resume', (_, isPresent) => tell({ event: 'resumed', isPresent }));
  connection.on('error', (error) => tell({ event: 'error', message: error.message }));
  return {
    connect: () => connection.connect(),
    disconnect: () => connection.disconnect(),
    subscribe: (topic, onMessage) => connection.subscribe(topic, qos, onMessage),
    publish: (topic, payload) => connection.publish(topic, payload, qos),
    shadowRequests: () => iotshadow.IotShadowClientv2.newFromMqtt311(connection, requestOptions),
    jobRequests: () => iotjobs.IotJobsClientv2.newFromMqtt311(connection, requestOptions),
    shadowTopics: () => new iotshadow.IotShadowClient(connection),
    jobTopics: () => new iotjobs.IotJobsClient(connection),
  };
};

const overMqtt5 = ({ host, port, ca, cert, key, clientId, clean }, tell) => {
  const config = iot.AwsIotMqtt5ClientConfigBuilder.newDirectMqttBuilderWithMtlsFromMemory(
    host,
    cert,
    key,
  )
    .withCertificateAuthority(ca)
    .withPort(port)
    .withConnectProperties({
      clientId,
      keepAliveIntervalSeconds: 1_200,
      ...(clean ? {} : { sessionExpiryIntervalSeconds: 3_600 }),
    })
    .withSessionBehavior(
      clean ? mqtt5.ClientSessionBehavior.Clean : mqtt5.ClientSessionBehavior.RejoinAlways,
    )
    .withMinReconnectDelayMs(500)
    .withMaxReconnectDelayMs(1_000)
    .build();
  const client = new mqtt5.Mqtt5Client(config);
  let isConnected = false;
  client.on('disconnection', ({ error }) => {
    tell({ event: 'interrupted', message: error.message });
  });
  client.on('connectionSuccess', ({ connack }) => {
    if (isConnected) tell({ event: 'resumed', isPresent: connack.sessionPresent });
    isConnected = true;
  });
  return {
    connect: () =>
      new Promise((resolve, reject) => {
        client.once('connectionSuccess', ({ connack }) => resolve(connack.sessionPresent));
        client.once('connectionFailure', ({ error, connack }) =>
          reject(new Error(`${error.message} (reason code ${connack?.reasonCode})`)),
        );
        client.start();
      }),
    async disconnect() {
      const stopped = once(client, 'stopped');
      client.stop();
      await stopped;
    },
    publish: (topicName, payload) => client.publish({ topicName, payload, qos }),
    shadowRequests: () => iotshadow.IotShadowClientv2.newFromMqtt5(client, requestOptions),
    jobRequests: () => iotjobs.IotJobsClientv2.newFromMqtt5(client, requestOptions),
    shadowTopics: () => iotshadow.IotShadowClient.newFromMqtt5Client(client),
    jobTopics: () => iotjobs.IotJobsClient.newFromMqtt5Client(client),
  };
};
