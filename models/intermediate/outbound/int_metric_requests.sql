{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['happened_date'],
    meta={'touched': [{
        'model': 'int_touched_pipeline_calls',
        'on': {'message_id': 'message_id', 'happened_date': 'happened_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

calls as (

    {{ calls_of(['report_delivery_event']) }}

),

parsed as (

    select
        {{ call_columns() }},
        properties,
        {{ json_fields(
            'properties', ['metric', 'recipient', 'reason', 'href', 'actionName', 'actionValue']
        ) }} as property_fields
    from calls

),

read as (

    select
        {{ call_columns() }},
        {{ json_name('properties', 'deliveryId') }} as delivery_id,
        {{ json_field('property_fields', 'metric') }} as metric,
        {{ json_field('property_fields', 'recipient') }} as recipient,
        {{ json_field('property_fields', 'reason') }} as reason,
        {{ json_field('property_fields', 'href') }} as href,
        {{ json_field('property_fields', 'actionName') }} as action_name,
        {{ json_field('property_fields', 'actionValue') }} as action_value
    from parsed

),

-- the delivery says whom it is about; no person is named
written as (

    select
        {{ call_columns() }},
        delivery_id,
        metric,
        cast(null as {{ dbt.type_string() }}) as person_id_type,
        cast(null as {{ dbt.type_string() }}) as person_id,
        {{ json_object([
            ['delivery_id', json_text('delivery_id')],
            ['metric', json_text('metric')],
            ['timestamp', unix_text('happened_ms')],
            ['recipient', json_text('recipient')],
            ['reason', json_text('reason')],
            ['href', json_text('href')],
            ['metadata', 'case when coalesce(action_name, action_value) is not null then ' ~ json_object([
                ['action_name', json_text('action_name')],
                ['action_value', json_text('action_value')],
            ]) ~ ' end'],
        ]) }} as payload
    from read

),

final as (

    select
        {{ request_columns('metrics', is_event=false, relation='written') }},
        {{ held_back([
            ['missing_field', 'delivery_id is null or metric is null'],
            [
                'unknown_metric',
                'metric not in (' ~ quoted_list([
                    'delivered', 'opened', 'clicked', 'converted', 'spammed', 'bounced', 'dropped', 'deferred',
                ]) ~ ')',
            ],
        ]) }} as held_back_reason
    from written

)

select * from final
